package compat;

import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.function.Predicate;

import org.springframework.core.io.FileSystemResource;
import org.springframework.http.client.ClientHttpRequestFactory;
import org.springframework.scheduling.concurrent.ThreadPoolTaskScheduler;
import org.springframework.vault.authentication.AppRoleAuthentication;
import org.springframework.vault.authentication.AppRoleAuthenticationOptions;
import org.springframework.vault.authentication.AppRoleAuthenticationOptions.RoleId;
import org.springframework.vault.authentication.AppRoleAuthenticationOptions.SecretId;
import org.springframework.vault.authentication.CubbyholeAuthentication;
import org.springframework.vault.authentication.CubbyholeAuthenticationOptions;
import org.springframework.vault.authentication.JwtAuthentication;
import org.springframework.vault.authentication.JwtAuthenticationOptions;
import org.springframework.vault.authentication.LifecycleAwareSessionManager;
import org.springframework.vault.authentication.SimpleSessionManager;
import org.springframework.vault.authentication.TokenAuthentication;
import org.springframework.vault.authentication.UsernamePasswordAuthentication;
import org.springframework.vault.authentication.UsernamePasswordAuthenticationOptions;
import org.springframework.vault.client.ClientHttpRequestFactoryFactory;
import org.springframework.vault.client.VaultClients;
import org.springframework.vault.client.VaultEndpoint;
import org.springframework.vault.core.VaultKeyValueOperationsSupport.KeyValueBackend;
import org.springframework.vault.core.VaultTemplate;
import org.springframework.vault.core.lease.SecretLeaseContainer;
import org.springframework.vault.core.lease.domain.RequestedSecret;
import org.springframework.vault.core.lease.event.SecretLeaseCreatedEvent;
import org.springframework.vault.support.ClientOptions;
import org.springframework.vault.support.Policy;
import org.springframework.vault.support.Policy.BuiltinCapabilities;
import org.springframework.vault.support.SslConfiguration;
import org.springframework.vault.support.SslConfiguration.KeyStoreConfiguration;
import org.springframework.vault.support.VaultInitializationRequest;
import org.springframework.vault.support.VaultMetadataRequest;
import org.springframework.vault.support.VaultMount;
import org.springframework.vault.support.VaultToken;
import org.springframework.vault.support.VaultTokenRequest;
import org.springframework.vault.support.Versioned.Version;
import org.springframework.web.client.ResourceAccessException;
import org.springframework.web.client.RestOperations;

/**
 * Every call of Spring Vault, the Vault client of Java, for what a server of this kind serves.
 *
 * The environment says where the server is (not initialised yet) and where PostgreSQL is. Each call prints a line: PASS
 * or FAIL, its area, its name, and what went wrong. The program itself ends well whatever the calls do.
 */
public final class Calls {

    interface Act<T> {
        T act() throws Exception;
    }

    interface Chapter {
        void tell() throws Exception;
    }

    private static final char[] PASSWORD = "not-secret".toCharArray();
    private static final VaultEndpoint ENDPOINT = VaultEndpoint.from(env("COMPAT_ADDR"));
    private static final ClientHttpRequestFactory REQUESTS = requests();
    private static final RestOperations REST = VaultClients.createRestTemplate(ENDPOINT, REQUESTS);

    private static VaultTemplate root;

    private static String env(String name) {
        return System.getenv(name);
    }

    private static ClientHttpRequestFactory requests() {
        var store = KeyStoreConfiguration.of(new FileSystemResource(trustStore()), PASSWORD);
        return ClientHttpRequestFactoryFactory.create(new ClientOptions(), SslConfiguration.forTrustStore(store));
    }

    /** The authority's certificate as a key store. */
    private static String trustStore() {
        try (var authority = new FileInputStream(env("COMPAT_CA"))) {
            var store = KeyStore.getInstance("PKCS12");
            store.load(null, PASSWORD);
            store.setCertificateEntry("authority", CertificateFactory.getInstance("X.509").generateCertificate(authority));
            String path = env("COMPAT_FOLDER") + "/compat-trust.p12";
            try (var file = new FileOutputStream(path)) {
                store.store(file, PASSWORD);
            }
            return path;
        } catch (Exception error) {
            throw new IllegalStateException(error);
        }
    }

    private static VaultTemplate connect(String token) {
        return new VaultTemplate(ENDPOINT, REQUESTS, new SimpleSessionManager(new TokenAuthentication(token)));
    }

    private static <T> T call(String area, String name, Act<T> act, Predicate<T> right) {
        try {
            T result = act.act();
            if (!right.test(result)) {
                throw new IllegalStateException("an unexpected reply: " + result);
            }
            System.out.println("PASS " + area + " | " + name);
            return result;
        } catch (Exception error) {
            String text = String.valueOf(error).replaceAll("\\s+", " ");
            System.out.println("FAIL " + area + " | " + name + " | " + text.substring(0, Math.min(300, text.length())));
            return null;
        }
    }

    private static void call(String area, String name, Chapter act) {
        call(area, name, () -> {
            act.tell();
            return true;
        }, done -> done);
    }

    private static void opening() {
        String area = "sys: seal";
        var sys = new VaultTemplate(ENDPOINT, REQUESTS).opsForSys();
        call(area, "isInitialized", sys::isInitialized, is -> !is);
        var made = call(area, "initialize", () -> sys.initialize(VaultInitializationRequest.create(2, 2)),
                reply -> reply.getKeys().size() == 2);
        call(area, "unseal", () -> sys.unseal(made.getKeys().get(0)), status -> status.getProgress() == 1);
        sys.unseal(made.getKeys().get(1));
        call(area, "getUnsealStatus", sys::getUnsealStatus, status -> !status.isSealed());
        call(area, "health", sys::health, health -> health.isInitialized() && !health.isSealed());
        root = connect(made.getRootToken().getToken());
        call(area, "seal", () -> root.opsForSys().seal());
        made.getKeys().forEach(key -> again(() -> sys.unseal(key)));
    }

    /** A seal ends the connections that were open, of which the client may still try one. */
    private static void again(Runnable act) {
        for (int left = 5;; left--) {
            try {
                act.run();
                return;
            } catch (ResourceAccessException error) {
                if (left == 0) {
                    throw error;
                }
            }
        }
    }

    private static void mounts() {
        var sys = root.opsForSys();
        String area = "sys: mounts";
        var two = VaultMount.builder().type("kv").options(Map.of("version", "2")).build();
        call(area, "mount", () -> sys.mount("two", two));
        call(area, "getMounts", sys::getMounts, mounts -> mounts.get("two/").getOptions().get("version").equals("2"));
        sys.mount("going", two);
        call(area, "unmount", () -> sys.unmount("going"));
        call(area, "authMount", () -> sys.authMount("approle", VaultMount.create("approle")));
        call(area, "getAuthMounts", sys::getAuthMounts, mounts -> mounts.containsKey("approle/"));
        sys.authMount("going", VaultMount.create("approle"));
        call(area, "authUnmount", () -> sys.authUnmount("going"));
        area = "sys: policies";
        var policy = Policy.of(Policy.Rule.builder().path("two/*").capability(BuiltinCapabilities.READ).build());
        call(area, "createOrUpdatePolicy", () -> sys.createOrUpdatePolicy("reader", policy));
        call(area, "getPolicy", () -> sys.getPolicy("reader"), found -> found.getRule("two/*") != null);
        call(area, "getPolicyNames", sys::getPolicyNames, names -> names.contains("reader"));
        sys.createOrUpdatePolicy("gone", policy);
        call(area, "deletePolicy", () -> sys.deletePolicy("gone"));
    }

    private static void tokens() {
        String area = "auth: token";
        var token = root.opsForToken();
        var ask = VaultTokenRequest.builder().withPolicy("reader").ttl(Duration.ofHours(1)).renewable().build();
        var made = call(area, "create", () -> token.create(ask), reply -> Integer.valueOf(3600).equals(reply.getAuth().get("lease_duration")));
        call(area, "createOrphan", () -> token.createOrphan(ask), reply -> reply.getToken() != null);
        root.write("auth/token/roles/builder", Map.of("allowed_policies", "reader"));
        call(area, "create (role)", () -> token.create("builder", ask), reply -> reply.getToken() != null);
        call(area, "renew", () -> token.renew(made.getToken()), reply -> reply.getToken() != null);
        call(area, "revokeOrphan", () -> token.revokeOrphan(token.create(ask).getToken()));
        call(area, "revoke", () -> token.revoke(made.getToken()));
    }

    private static void logins() throws Exception {
        root.write("auth/approle/role/web", Map.of("token_policies", "reader", "token_ttl", "20m"));
        String role = (String) root.read("auth/approle/role/web/role-id").getRequiredData().get("role_id");
        String secret = (String) root.write("auth/approle/role/web/secret-id", Map.of()).getRequiredData().get("secret_id");
        Predicate<VaultToken> given = token -> !token.getToken().isEmpty();
        var pair = AppRoleAuthenticationOptions.builder().roleId(RoleId.provided(role)).secretId(SecretId.provided(secret));
        call("auth: approle", "AppRoleAuthentication", () -> new AppRoleAuthentication(pair.build(), REST).login(), given);
        var pull = AppRoleAuthenticationOptions.builder().appRole("web").roleId(RoleId.pull(VaultToken.of(rootToken())))
                .secretId(SecretId.pull(VaultToken.of(rootToken())));
        call("auth: approle", "AppRoleAuthentication (pull)", () -> new AppRoleAuthentication(pull.build(), REST).login(), given);
        root.opsForSys().authMount("userpass", VaultMount.create("userpass"));
        root.write("auth/userpass/users/alice", Map.of("password", "right", "token_policies", "reader"));
        var person = UsernamePasswordAuthenticationOptions.builder().username("alice").password("right").build();
        call("auth: userpass", "UsernamePasswordAuthentication",
                () -> new UsernamePasswordAuthentication(person, REST).login(), given);
        root.opsForSys().authMount("jwt", VaultMount.create("jwt"));
        root.write("auth/jwt/config", Map.of("jwt_validation_pubkeys", env("COMPAT_PUBLIC_KEY"), "bound_issuer", env("COMPAT_ISSUER")));
        root.write("auth/jwt/role/app", Map.of("role_type", "jwt", "user_claim", "sub", "bound_audiences", "strongroom"));
        var signed = JwtAuthenticationOptions.builder().role("app").jwt(env("COMPAT_JWT")).build();
        call("auth: jwt", "JwtAuthentication", () -> new JwtAuthentication(signed, REST).login(), given);
        var first = root.opsForWrapping().wrap(Map.of("token", rootToken()), Duration.ofMinutes(1));
        call("auth: token", "TokenAuthentication", () -> new TokenAuthentication(first.getToken()).login(), given);
        var scheduler = scheduler();
        var sessions = new LifecycleAwareSessionManager(new UsernamePasswordAuthentication(person, REST), scheduler, REST);
        call("auth: token", "LifecycleAwareSessionManager (login)", sessions::getSessionToken, given);
        call("auth: token", "LifecycleAwareSessionManager (renew)", sessions::renewToken, renewed -> renewed);
        call("auth: token", "LifecycleAwareSessionManager (revoke)", sessions::destroy);
        var wrapped = root.doWithSession(rest -> {
            var headers = new org.springframework.http.HttpHeaders();
            headers.add("X-Vault-Wrap-TTL", "60s");
            var entity = new org.springframework.http.HttpEntity<>(Map.of("policies", List.of("reader")), headers);
            return rest.postForObject("auth/token/create", entity, Map.class);
        });
        String wrapping = (String) ((Map<?, ?>) wrapped.get("wrap_info")).get("token");
        var hole = CubbyholeAuthenticationOptions.builder().initialToken(VaultToken.of(wrapping)).wrapped().build();
        call("auth: token", "CubbyholeAuthentication", () -> new CubbyholeAuthentication(hole, REST).login(), given);
        scheduler.shutdown();
    }

    private static String rootToken() {
        return (String) root.read("auth/token/lookup-self").getRequiredData().get("id");
    }

    private static ThreadPoolTaskScheduler scheduler() {
        var scheduler = new ThreadPoolTaskScheduler();
        scheduler.setDaemon(true);
        scheduler.afterPropertiesSet();
        return scheduler;
    }

    private static void versioned() {
        String area = "secrets: kv 2";
        var kv = root.opsForVersionedKeyValue("two");
        call(area, "put", () -> kv.put("a/b", Map.of("x", "1")), made -> made.getVersion().getVersion() == 1);
        kv.put("a/b", Map.of("x", "2"));
        call(area, "get", () -> kv.get("a/b"), found -> found.getRequiredData().get("x").equals("2"));
        call(area, "get (version)", () -> kv.get("a/b", Version.from(1)), found -> found != null);
        call(area, "list", () -> kv.list("a"), keys -> keys.equals(List.of("b")));
        call(area, "delete (latest)", () -> kv.delete("a/b"));
        call(area, "undelete", () -> kv.undelete("a/b", Version.from(2)));
        call(area, "delete (versions)", () -> kv.delete("a/b", Version.from(1)));
        call(area, "destroy", () -> kv.destroy("a/b", Version.from(1)));
        var metadata = kv.opsForKeyValueMetadata();
        var ask = VaultMetadataRequest.builder().maxVersions(3).customMetadata(Map.of("owner", "me")).build();
        call(area, "metadata put", () -> metadata.put("a/b", ask));
        call(area, "metadata get", () -> metadata.get("a/b"), found -> found.getMaxVersions() == 3);
        var plain = root.opsForKeyValue("two", KeyValueBackend.KV_2);
        call(area, "plain get", () -> plain.get("a/b"), found -> found.getRequiredData().get("x").equals("2"));
        call(area, "plain patch", () -> plain.patch("a/b", Map.of("y", "3")), patched -> patched);
        call(area, "plain put", () -> plain.put("a/c", Map.of("x", "1")));
        call(area, "plain delete", () -> plain.delete("a/c"));
        call(area, "metadata delete", () -> metadata.delete("a/b"));
        area = "secrets: kv 1";
        call(area, "mount", () -> root.opsForSys().mount("one", VaultMount.builder().type("kv").options(Map.of("version", "1")).build()));
        var one = root.opsForKeyValue("one", KeyValueBackend.KV_1);
        call(area, "put", () -> one.put("a/b", Map.of("x", "1")));
        call(area, "get", () -> one.get("a/b"), found -> found.getRequiredData().get("x").equals("1"));
        call(area, "list", () -> one.list("a"), keys -> keys.equals(List.of("b")));
        call(area, "delete", () -> one.delete("a/b"));
    }

    private static void anything() {
        String area = "any path";
        call(area, "write", () -> root.write("cubbyhole/x", Map.of("a", "b")), reply -> true);
        call(area, "read", () -> root.read("cubbyhole/x"), reply -> reply.getRequiredData().get("a").equals("b"));
        call(area, "read of nothing", () -> root.read("cubbyhole/nothing"), reply -> reply == null);
        call(area, "list", () -> root.list("cubbyhole"), keys -> keys.equals(List.of("x")));
        call(area, "list of nothing", () -> root.list("cubbyhole/nothing"), List::isEmpty);
        call(area, "delete", () -> root.delete("cubbyhole/x"));
        area = "sys: wrapping";
        var wrapping = root.opsForWrapping();
        var made = call(area, "wrap", () -> wrapping.wrap(Map.of("a", "b"), Duration.ofMinutes(1)), wrapped -> wrapped.getToken() != null);
        call(area, "lookup", () -> wrapping.lookup(made.getToken()), found -> found.getTtl().equals(Duration.ofMinutes(1)));
        var again = call(area, "rewrap", () -> wrapping.rewrap(made.getToken()), wrapped -> wrapped.getToken() != null);
        call(area, "read", () -> wrapping.read(again.getToken()), found -> found.getRequiredData().get("a").equals("b"));
    }

    private static void database() throws Exception {
        root.opsForSys().mount("database", VaultMount.create("database"));
        root.write("database/config/shop", Map.of("plugin_name", "postgresql-database-plugin", "allowed_roles", "*",
                "connection_url", env("COMPAT_PG_TEMPLATE"), "username", "strongroom", "password", env("COMPAT_PG_PASSWORD")));
        root.write("database/roles/app", Map.of("db_name", "shop", "default_ttl", "1h",
                "creation_statements", "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}'"));
        String area = "sys: leases";
        var container = new SecretLeaseContainer(root, scheduler());
        var created = new CountDownLatch(1);
        container.addLeaseListener(event -> {
            if (event instanceof SecretLeaseCreatedEvent) {
                created.countDown();
            }
        });
        container.afterPropertiesSet();
        var secret = RequestedSecret.renewable("database/creds/app");
        call(area, "SecretLeaseContainer (request)", () -> {
            container.addRequestedSecret(secret);
            container.start();
            return created.await(20, TimeUnit.SECONDS);
        }, done -> done);
        call(area, "SecretLeaseContainer (renew)", () -> container.renew(secret), renewed -> renewed);
        call(area, "SecretLeaseContainer (revoke)", container::destroy);
    }

    public static void main(String[] arguments) {
        opening();
        Map<String, Chapter> chapters = new java.util.LinkedHashMap<>();
        chapters.put("mounts", Calls::mounts);
        chapters.put("tokens", Calls::tokens);
        chapters.put("logins", Calls::logins);
        chapters.put("versioned", Calls::versioned);
        chapters.put("anything", Calls::anything);
        chapters.put("database", Calls::database);
        chapters.forEach((name, chapter) -> {
            try {
                chapter.tell();
            } catch (Exception error) {
                System.out.println("NOTE " + name + " ended early: " + String.valueOf(error).replaceAll("\\s+", " "));
            }
        });
        System.exit(0);
    }
}
