#!/bin/sh
# The application. It knows nothing of Strongroom: it finds what it needs in its environment.
sql="INSERT INTO orders (item) VALUES ('teapot') RETURNING 'order ' || id || ' was taken by ' || by_user"
psql -X -q -At "$DATABASE_URL" -c "$sql" || exit 1
echo "the shop is open; its API key has ${#API_KEY} characters"
echo $$ >shop.pid
until [ -e closing-time ]; do sleep 0.1; done
echo "the shop closes"
