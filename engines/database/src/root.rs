//! `rotate-root/{name}`: the password of a connection, so that nobody knows it but the server.
//!
//! Save the new password as pending, change it, log in with it, make it current; the one before is kept. At every
//! moment at least one stored password works. A rotation that was cut off is continued with the same pending password:
//! the change may still be on its way to the database, and must then be the one that is stored.

use api::Name;
use engine::{Done, Error};
use storage::Tx;

use crate::{
    Call, Here, Targets,
    config::{self, CANNOT_ROTATE},
    connections::{promote, turn_of},
    failed, fault,
    kept::{Account, Kept},
    make_password,
    plan::ROOT,
    turn,
};

pub(crate) async fn rotate<T: Targets>(cx: Call<T>, name: Name) -> Result<Done, Error> {
    let name = name.as_str();
    let id = format!("{ROOT}/{name}");
    let outcome = rotate_now(&cx, name).await;
    note(&cx, &id, &outcome).await?;
    outcome?;
    cx.rotated(&id, Ok(())).await?;
    Ok(Done)
}

/// Writes a failure down although the request fails. Conflicts are no failures: the request runs again.
pub(crate) async fn note<T: Targets>(cx: &Here<T>, id: &str, outcome: &Result<(), Error>) -> Result<(), Error> {
    let why = match outcome {
        Ok(()) | Err(Error::Conflict | Error::Invalid(_)) => return Ok(()),
        Err(error) => error.to_string(),
    };
    let tx = Tx::new(cx.services().store());
    cx.services().rotated(&tx, cx.mount(), id, Err(why)).await?;
    // The failure itself is what the caller must hear of.
    let _ = tx.commit().await;
    Ok(())
}

pub(crate) async fn rotate_now<T: Targets>(cx: &Here<T>, name: &str) -> Result<(), Error> {
    let _turn = turn(cx, &turn_of(name)).await;
    let mut connection = config::required(cx, name).await?;
    if !connection.can_rotate() {
        return Err(Error::invalid(CANNOT_ROTATE));
    }
    let sharers = config::sharers(cx.view(), name, &connection).await?;
    if !sharers.is_empty() {
        return Err(Error::invalid(format!(
            "unable to rotate root credentials: {} would be locked out, because it logs in to the same server as the same user; \
             give each connection a user of its own",
            sharers.join(", ")
        )));
    }
    let resumed = connection.pending.is_some();
    let pending = match connection.pending.clone() {
        Some(pending) => pending,
        None => {
            fault::reach("root.before-pending")?;
            let password = Kept(make_password(cx, &connection.password_policy).await?);
            let pending = Account { username: connection.username.clone(), password, since: cx.now() };
            connection.pending = Some(pending.clone());
            config::store(cx.view(), name, &connection)?;
            cx.checkpoint().await?;
            pending
        }
    };
    fault::reach("root.after-pending")?;
    let target = cx.engine().connections.target::<T>(name, &connection)?;
    // What was cut off may have come this far. A new password is not tried before the database has it.
    let changed = resumed && target.login_works(&connection.username, &pending.password.0).await.unwrap_or(false);
    if !changed {
        let statements = &connection.root_rotation_statements;
        if let Err(error) = target.set_password(&connection.username, &pending.password.0, statements).await {
            if pending.is_void(&target, resumed, &error, cx.now()).await {
                // The next try makes another. Read again, since the answer may have taken its time and the
                // configuration may have changed.
                let mut connection = config::required(cx, name).await?;
                connection.pending = None;
                config::store(cx.view(), name, &connection)?;
                cx.checkpoint().await?;
            }
            return Err(failed(error));
        }
        fault::reach("root.after-change")?;
        if !target.login_works(&connection.username, &pending.password.0).await.map_err(failed)? {
            return Err(Error::Target("the database took the new password but does not accept it at login".to_owned()));
        }
    }
    fault::reach("root.after-login")?;
    // Read again: the checkpoint began a new unit of work.
    let mut connection = config::required(cx, name).await?;
    promote(&mut connection, pending, cx.now());
    config::store(cx.view(), name, &connection)?;
    Ok(())
}
