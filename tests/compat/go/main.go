// Every call of github.com/hashicorp/vault/api, the Vault client of Go, for what a server of this kind serves.
//
// The environment says where the server is (not initialised yet) and where PostgreSQL is. Each call prints a line: PASS
// or FAIL, its area, its name, and what went wrong. The program itself ends well whatever the calls do.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/hashicorp/vault/api/auth/approle"
	"github.com/hashicorp/vault/api/auth/userpass"
)

var ctx = context.Background()

func connect(token string) *api.Client {
	config := api.DefaultConfig()
	config.Address = os.Getenv("COMPAT_ADDR")
	if err := config.ConfigureTLS(&api.TLSConfig{CACert: os.Getenv("COMPAT_CA")}); err != nil {
		panic(err)
	}
	config.MaxRetries = 0
	client, err := api.NewClient(config)
	if err != nil {
		panic(err)
	}
	client.SetToken(token)
	return client
}

// call makes a call; what it gives besides an error must be true.
func call(area, name string, act func() (bool, error)) {
	right, err := func() (right bool, err error) {
		defer func() {
			if fault := recover(); fault != nil {
				err = fmt.Errorf("%v", fault)
			}
		}()
		return act()
	}()
	if err == nil && !right {
		err = errors.New("an unexpected reply")
	}
	if err == nil {
		fmt.Printf("PASS %s | %s\n", area, name)
		return
	}
	text := strings.Join(strings.Fields(err.Error()), " ")
	if len(text) > 300 {
		text = text[:300]
	}
	fmt.Printf("FAIL %s | %s | %s\n", area, name, text)
}

func done(err error) (bool, error) { return true, err }

func opening() *api.Client {
	area := "sys: seal"
	client := connect("")
	sys := client.Sys()
	call(area, "InitStatus", func() (bool, error) { is, err := sys.InitStatus(); return !is, err })
	var made *api.InitResponse
	call(area, "Init", func() (right bool, err error) {
		made, err = sys.Init(&api.InitRequest{SecretShares: 2, SecretThreshold: 2})
		return err == nil && len(made.Keys) == 2, err
	})
	call(area, "Unseal", func() (bool, error) { r, err := sys.Unseal(made.Keys[0]); return err == nil && r.Progress == 1, err })
	call(area, "ResetUnsealProcess", func() (bool, error) { r, err := sys.ResetUnsealProcess(); return err == nil && r.Progress == 0, err })
	sys.Unseal(made.Keys[0])
	call(area, "UnsealWithOptions", func() (bool, error) {
		r, err := sys.UnsealWithOptions(&api.UnsealOpts{Key: made.Keys[1]})
		return err == nil && !r.Sealed, err
	})
	client = connect(made.RootToken)
	sys = client.Sys()
	call(area, "SealStatus", func() (bool, error) { r, err := sys.SealStatus(); return err == nil && r.T == 2, err })
	call(area, "Health", func() (bool, error) { r, err := sys.Health(); return err == nil && r.Initialized, err })
	call(area, "Leader", func() (bool, error) { _, err := sys.Leader(); return done(err) })
	call(area, "HAStatus", func() (bool, error) { r, err := sys.HAStatus(); return err == nil && len(r.Nodes) == 1, err })
	call(area, "KeyStatus", func() (bool, error) { r, err := sys.KeyStatus(); return err == nil && r.Term == 1, err })
	call(area, "Rotate", func() (bool, error) { return done(sys.Rotate()) })
	call(area, "GenerateRootStatus", func() (bool, error) { r, err := sys.GenerateRootStatus(); return err == nil && !r.Started, err })
	var root *api.GenerateRootStatusResponse
	call(area, "GenerateRootInit", func() (right bool, err error) {
		root, err = sys.GenerateRootInit("", "")
		return err == nil && root.OTP != "", err
	})
	call(area, "GenerateRootUpdate", func() (bool, error) {
		r, err := sys.GenerateRootUpdate(made.Keys[0], root.Nonce)
		return err == nil && r.Progress == 1, err
	})
	call(area, "GenerateRootCancel", func() (bool, error) { return done(sys.GenerateRootCancel()) })
	call(area, "RekeyStatus", func() (bool, error) { r, err := sys.RekeyStatus(); return err == nil && !r.Started, err })
	one := &api.RekeyInitRequest{SecretShares: 1, SecretThreshold: 1}
	call(area, "RekeyInit", func() (bool, error) { r, err := sys.RekeyInit(one); return err == nil && r.Started, err })
	call(area, "RekeyCancel", func() (bool, error) { return done(sys.RekeyCancel()) })
	begun, err := sys.RekeyInit(one)
	if err == nil {
		call(area, "RekeyCancelWithNonce", func() (bool, error) { return done(sys.RekeyCancelWithNonce(begun.Nonce)) })
	}
	one.RequireVerification = true
	begun, _ = sys.RekeyInit(one)
	var rekeyed *api.RekeyUpdateResponse
	call(area, "RekeyUpdate", func() (right bool, err error) {
		if _, err = sys.RekeyUpdate(made.Keys[0], begun.Nonce); err != nil {
			return false, err
		}
		rekeyed, err = sys.RekeyUpdate(made.Keys[1], begun.Nonce)
		return err == nil && rekeyed.Complete && len(rekeyed.Keys) == 1, err
	})
	call(area, "RekeyVerificationStatus", func() (bool, error) { r, err := sys.RekeyVerificationStatus(); return err == nil && r.Nonce != "", err })
	call(area, "RekeyVerificationUpdate", func() (bool, error) {
		r, err := sys.RekeyVerificationUpdate(rekeyed.Keys[0], rekeyed.VerificationNonce)
		return err == nil && r.Complete, err
	})
	call(area, "StepDown", func() (bool, error) { return done(sys.StepDown()) })
	call(area, "Seal", func() (bool, error) { return done(sys.Seal()) })
	keys := made.Keys
	if rekeyed != nil {
		keys = append(append([]string{}, rekeyed.Keys...), keys...)
	}
	for _, key := range keys {
		if status, err := sys.Unseal(key); err == nil && !status.Sealed {
			break
		}
	}
	return client
}

func mounts(client *api.Client) {
	area, sys := "sys: mounts", client.Sys()
	two := &api.MountInput{Type: "kv", Options: map[string]string{"version": "2"}}
	call(area, "Mount", func() (bool, error) { return done(sys.Mount("two", two)) })
	call(area, "ListMounts", func() (bool, error) { r, err := sys.ListMounts(); return err == nil && r["two/"].Type == "kv", err })
	call(area, "GetMount", func() (bool, error) { r, err := sys.GetMount("two"); return err == nil && r.Type == "kv", err })
	call(area, "TuneMount", func() (bool, error) { return done(sys.TuneMount("two", api.MountConfigInput{MaxLeaseTTL: "48h"})) })
	text := "notes"
	call(area, "TuneMountAllowNil", func() (bool, error) {
		return done(sys.TuneMountAllowNil("two", api.TuneMountConfigInput{Description: &text}))
	})
	call(area, "MountConfig", func() (bool, error) {
		r, err := sys.MountConfig("two")
		return err == nil && r.MaxLeaseTTL == 172800, err
	})
	sys.Mount("going", two)
	call(area, "Remount", func() (bool, error) { return done(sys.Remount("going", "gone")) })
	var move *api.MountMigrationOutput
	call(area, "StartRemount", func() (right bool, err error) {
		move, err = sys.StartRemount("gone", "lost")
		return err == nil && move.MigrationID != "", err
	})
	call(area, "RemountStatus", func() (bool, error) {
		r, err := sys.RemountStatus(move.MigrationID)
		return err == nil && r.MigrationInfo != nil, err
	})
	call(area, "Unmount", func() (bool, error) { return done(sys.Unmount("lost")) })
	call(area, "EnableAuth", func() (bool, error) { return done(sys.EnableAuth("going", "approle", "")) })
	call(area, "EnableAuthWithOptions", func() (bool, error) {
		threshold := api.MountConfigInput{DefaultLeaseTTL: "1h", UserLockoutConfig: &api.UserLockoutConfigInput{LockoutThreshold: "9"}}
		return done(sys.EnableAuthWithOptions("approle", &api.EnableAuthOptions{Type: "approle", Config: threshold}))
	})
	call(area, "ListAuth", func() (bool, error) {
		r, err := sys.ListAuth()
		return err == nil && r["approle/"].Config.DefaultLeaseTTL == 3600, err
	})
	call(area, "GetAuth", func() (bool, error) {
		r, err := sys.GetAuth("approle")
		return err == nil && r.Config.DefaultLeaseTTL == 3600, err
	})
	call(area, "DisableAuth", func() (bool, error) { return done(sys.DisableAuth("going")) })
	area = "sys: plugins"
	call(area, "ListPlugins", func() (bool, error) {
		r, err := sys.ListPlugins(&api.ListPluginsInput{})
		return err == nil && len(r.PluginsByType) > 0, err
	})
	call(area, "GetPlugin", func() (bool, error) {
		r, err := sys.GetPlugin(&api.GetPluginInput{Name: "kv", Type: api.PluginTypeSecrets})
		return err == nil && r.Builtin, err
	})
}

func policies(client *api.Client) {
	area, sys := "sys: policies", client.Sys()
	text := `path "two/*" { capabilities = ["read"] }`
	call(area, "PutPolicy", func() (bool, error) { return done(sys.PutPolicy("reader", text)) })
	call(area, "GetPolicy", func() (bool, error) { r, err := sys.GetPolicy("reader"); return r == text, err })
	call(area, "ListPolicies", func() (bool, error) {
		r, err := sys.ListPolicies()
		return strings.Contains(strings.Join(r, " "), "reader"), err
	})
	sys.PutPolicy("gone", text)
	call(area, "DeletePolicy", func() (bool, error) { return done(sys.DeletePolicy("gone")) })
	made, err := client.Auth().Token().Create(&api.TokenCreateRequest{Policies: []string{"reader"}})
	if err != nil {
		panic(err)
	}
	is := func(r []string, err error) (bool, error) { return len(r) == 1 && r[0] == "read", err }
	call(area, "CapabilitiesSelf", func() (bool, error) { return is(connect(made.Auth.ClientToken).Sys().CapabilitiesSelf("two/data/a")) })
	call(area, "Capabilities", func() (bool, error) { return is(sys.Capabilities(made.Auth.ClientToken, "two/data/a")) })
	call(area, "CapabilitiesAccessor", func() (bool, error) { return is(sys.CapabilitiesAccessor(made.Auth.Accessor, "two/data/a")) })
}

func operation(client *api.Client) {
	area, sys := "sys: audit", client.Sys()
	file := func(name string) map[string]string {
		return map[string]string{"file_path": filepath.Join(os.Getenv("COMPAT_FOLDER"), name)}
	}
	call(area, "EnableAuditWithOptions", func() (bool, error) {
		return done(sys.EnableAuditWithOptions("file", &api.EnableAuditOptions{Type: "file", Options: file("compat-go.log")}))
	})
	call(area, "EnableAudit", func() (bool, error) { return done(sys.EnableAudit("old", "file", "", file("compat-go-old.log"))) })
	call(area, "ListAudit", func() (bool, error) { r, err := sys.ListAudit(); return err == nil && r["file/"].Type == "file", err })
	call(area, "AuditHash", func() (bool, error) { r, err := sys.AuditHash("file", "x"); return strings.HasPrefix(r, "hmac-"), err })
	call(area, "DisableAudit", func() (bool, error) { sys.DisableAudit("old"); return done(sys.DisableAudit("file")) })
	area = "sys: CORS"
	call(area, "ConfigureCORS", func() (bool, error) {
		return done(sys.ConfigureCORS(&api.CORSRequest{Enabled: true, AllowedOrigins: []string{"https://a.example"}}))
	})
	call(area, "CORSStatus", func() (bool, error) { r, err := sys.CORSStatus(); return err == nil && r.Enabled, err })
	call(area, "DisableCORS", func() (bool, error) { return done(sys.DisableCORS()) })
	call("sys: monitor", "Monitor", func() (bool, error) {
		short, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		_, err := sys.Monitor(short, "info", "standard")
		return done(err)
	})
}

func tokens(client *api.Client) {
	area, token := "auth: token", client.Auth().Token()
	ask := &api.TokenCreateRequest{Policies: []string{"reader"}, TTL: "1h", Metadata: map[string]string{"a": "b"}}
	create := func() *api.SecretAuth {
		made, err := token.Create(ask)
		if err != nil {
			panic(err)
		}
		return made.Auth
	}
	call(area, "Create", func() (bool, error) {
		r, err := token.Create(ask)
		return err == nil && r.Auth.LeaseDuration == 3600, err
	})
	made := create()
	own := connect(made.ClientToken).Auth().Token()
	is := func(r *api.Secret, err error) (bool, error) {
		return err == nil && r.Data["accessor"] == made.Accessor, err
	}
	renewed := func(r *api.Secret, err error) (bool, error) { return err == nil && r.Auth.LeaseDuration == 7200, err }
	call(area, "CreateOrphan", func() (bool, error) { r, err := token.CreateOrphan(ask); return err == nil && r.Auth.Orphan, err })
	call(area, "Lookup", func() (bool, error) { return is(token.Lookup(made.ClientToken)) })
	call(area, "LookupAccessor", func() (bool, error) { return is(token.LookupAccessor(made.Accessor)) })
	call(area, "LookupSelf", func() (bool, error) { return is(own.LookupSelf()) })
	call(area, "Renew", func() (bool, error) { return renewed(token.Renew(made.ClientToken, 7200)) })
	call(area, "RenewAccessor", func() (bool, error) { return renewed(token.RenewAccessor(made.Accessor, 7200)) })
	call(area, "RenewSelf", func() (bool, error) { return renewed(own.RenewSelf(7200)) })
	call(area, "RenewTokenAsSelf", func() (bool, error) { return renewed(token.RenewTokenAsSelf(made.ClientToken, 7200)) })
	client.Logical().Write("auth/token/roles/builder", map[string]any{"allowed_policies": "reader"})
	call(area, "CreateWithRole", func() (bool, error) {
		r, err := token.CreateWithRole(ask, "builder")
		return err == nil && r.Auth.ClientToken != "", err
	})
	call(area, "RevokeAccessor", func() (bool, error) { return done(token.RevokeAccessor(create().Accessor)) })
	call(area, "RevokeOrphan", func() (bool, error) { return done(token.RevokeOrphan(create().ClientToken)) })
	call(area, "RevokeTree", func() (bool, error) { return done(token.RevokeTree(create().ClientToken)) })
	call(area, "RevokeSelf", func() (bool, error) { return done(own.RevokeSelf("")) })
	call(area, "LifetimeWatcher", func() (bool, error) {
		short, err := token.Create(&api.TokenCreateRequest{Policies: []string{"reader"}, TTL: "30s"})
		if err != nil {
			return false, err
		}
		watcher, err := connect(short.Auth.ClientToken).NewLifetimeWatcher(&api.LifetimeWatcherInput{Secret: short})
		if err != nil {
			return false, err
		}
		go watcher.Start()
		defer watcher.Stop()
		select {
		case err := <-watcher.DoneCh():
			return false, err
		case renewal := <-watcher.RenewCh():
			return renewal.Secret.Auth.LeaseDuration == 30, nil
		case <-time.After(20 * time.Second):
			return false, errors.New("nothing was renewed")
		}
	})
}

func logins(client *api.Client) {
	must := func(path string, data map[string]any) *api.Secret {
		made, err := client.Logical().Write(path, data)
		if err != nil {
			panic(err)
		}
		return made
	}
	must("auth/approle/role/web", map[string]any{"token_policies": "reader"})
	id, err := client.Logical().Read("auth/approle/role/web/role-id")
	if err != nil {
		panic(err)
	}
	secret := must("auth/approle/role/web/secret-id", nil)
	call("auth: approle", "Login", func() (bool, error) {
		text := secret.Data["secret_id"].(string)
		method, err := approle.NewAppRoleAuth(id.Data["role_id"].(string), &approle.SecretID{FromString: text})
		if err != nil {
			return false, err
		}
		r, err := connect("").Auth().Login(ctx, method)
		return err == nil && r.Auth.ClientToken != "", err
	})
	client.Sys().EnableAuth("userpass", "userpass", "")
	must("auth/userpass/users/alice", map[string]any{"password": "right", "token_policies": "reader"})
	call("auth: userpass", "Login", func() (bool, error) {
		method, err := userpass.NewUserpassAuth("Alice", &userpass.Password{FromString: "right"})
		if err != nil {
			return false, err
		}
		r, err := connect("").Auth().Login(ctx, method)
		return err == nil && r.Auth.Metadata["username"] == "alice", err
	})
}

func kvTwo(client *api.Client) {
	area, kv := "secrets: kv 2", client.KVv2("two")
	data := map[string]any{"x": "1"}
	call(area, "Put", func() (bool, error) {
		r, err := kv.Put(ctx, "a/b", data, api.WithCheckAndSet(0))
		return err == nil && r.VersionMetadata.Version == 1, err
	})
	call(area, "Get", func() (bool, error) { r, err := kv.Get(ctx, "a/b"); return err == nil && r.Data["x"] == "1", err })
	call(area, "Patch", func() (bool, error) {
		r, err := kv.Patch(ctx, "a/b", map[string]any{"y": "2"})
		return err == nil && r.VersionMetadata.Version == 2, err
	})
	call(area, "Patch (read and write)", func() (bool, error) {
		r, err := kv.Patch(ctx, "a/b", map[string]any{"z": "3"}, api.WithMergeMethod(api.KVMergeMethodReadWrite))
		return err == nil && r.VersionMetadata.Version == 3, err
	})
	call(area, "GetVersion", func() (bool, error) {
		r, err := kv.GetVersion(ctx, "a/b", 1)
		return err == nil && r.Data["y"] == nil, err
	})
	call(area, "GetVersionsAsList", func() (bool, error) { r, err := kv.GetVersionsAsList(ctx, "a/b"); return len(r) == 3, err })
	call(area, "PutMetadata", func() (bool, error) {
		return done(kv.PutMetadata(ctx, "a/b", api.KVMetadataPutInput{MaxVersions: 5, CustomMetadata: map[string]any{"owner": "me"}}))
	})
	call(area, "PatchMetadata", func() (bool, error) {
		return done(kv.PatchMetadata(ctx, "a/b", api.KVMetadataPatchInput{CustomMetadata: map[string]any{"team": "shop"}}))
	})
	call(area, "GetMetadata", func() (bool, error) {
		r, err := kv.GetMetadata(ctx, "a/b")
		return err == nil && len(r.CustomMetadata) == 2, err
	})
	call(area, "Rollback", func() (bool, error) {
		r, err := kv.Rollback(ctx, "a/b", 1)
		return err == nil && r.VersionMetadata.Version == 4, err
	})
	call(area, "Delete", func() (bool, error) { return done(kv.Delete(ctx, "a/b")) })
	call(area, "Undelete", func() (bool, error) { return done(kv.Undelete(ctx, "a/b", []int{4})) })
	call(area, "DeleteVersions", func() (bool, error) { return done(kv.DeleteVersions(ctx, "a/b", []int{1})) })
	call(area, "Destroy", func() (bool, error) { return done(kv.Destroy(ctx, "a/b", []int{1})) })
	call(area, "DeleteMetadata", func() (bool, error) { return done(kv.DeleteMetadata(ctx, "a/b")) })
	call(area, "Get of nothing", func() (bool, error) { _, err := kv.Get(ctx, "none"); return errors.Is(err, api.ErrSecretNotFound), nil })
}

func kvOne(client *api.Client) {
	area, kv := "secrets: kv 1", client.KVv1("one")
	call(area, "Mount", func() (bool, error) { return done(client.Sys().Mount("one", &api.MountInput{Type: "kv"})) })
	call(area, "Put", func() (bool, error) { return done(kv.Put(ctx, "a/b", map[string]any{"x": "1"})) })
	call(area, "Get", func() (bool, error) { r, err := kv.Get(ctx, "a/b"); return err == nil && r.Data["x"] == "1", err })
	call(area, "Delete", func() (bool, error) { return done(kv.Delete(ctx, "a/b")) })
}

func anything(client *api.Client) {
	area, logical := "any path", client.Logical()
	is := func(r *api.Secret, err error) (bool, error) { return err == nil && r != nil && r.Data["a"] == "b", err }
	call(area, "Write", func() (bool, error) {
		_, err := logical.Write("cubbyhole/x", map[string]any{"a": "b"})
		return done(err)
	})
	call(area, "WriteBytes", func() (bool, error) {
		_, err := logical.WriteBytes("cubbyhole/y", []byte(`{"a":"b"}`))
		return done(err)
	})
	call(area, "WriteRaw", func() (bool, error) {
		r, err := logical.WriteRaw("cubbyhole/z", []byte(`{"a":"b"}`))
		return err == nil && r.StatusCode == 204, err
	})
	call(area, "Read", func() (bool, error) { return is(logical.Read("cubbyhole/x")) })
	call(area, "Read of nothing", func() (bool, error) { r, err := logical.Read("cubbyhole/nothing"); return r == nil, err })
	call(area, "ReadWithData", func() (bool, error) { return is(logical.ReadWithData("cubbyhole/x", map[string][]string{"q": {"1"}})) })
	call(area, "ReadRaw", func() (bool, error) {
		r, err := logical.ReadRaw("cubbyhole/x")
		return is(logical.ParseRawResponseAndCloseBody(r, err))
	})
	call(area, "ReadRawWithData", func() (bool, error) {
		r, err := logical.ReadRawWithData("cubbyhole/x", nil)
		return err == nil && r.StatusCode == 200, err
	})
	call(area, "List", func() (bool, error) {
		r, err := logical.List("cubbyhole")
		return err == nil && len(r.Data["keys"].([]any)) == 3, err
	})
	call(area, "JSONMergePatch", func() (bool, error) {
		logical.Write("two/data/p", map[string]any{"data": map[string]any{"a": "b"}})
		r, err := logical.JSONMergePatch(ctx, "two/data/p", map[string]any{"data": map[string]any{"c": "d"}})
		return err == nil && r.Data["version"] == json.Number("2"), err
	})
	call(area, "Delete", func() (bool, error) { _, err := logical.Delete("cubbyhole/x"); return done(err) })
	call(area, "DeleteWithData", func() (bool, error) {
		_, err := logical.DeleteWithData("cubbyhole/y", map[string][]string{"q": {"1"}})
		return done(err)
	})
	call(area, "DeleteRaw", func() (bool, error) {
		r, err := logical.DeleteRaw("cubbyhole/z")
		return err == nil && r.StatusCode == 204, err
	})
	area = "sys: wrapping"
	wrapped := func() string {
		wrapping, err := client.Clone()
		if err != nil {
			panic(err)
		}
		wrapping.SetToken(client.Token())
		wrapping.SetWrappingLookupFunc(func(string, string) string { return "60s" })
		made, err := wrapping.Logical().Write("sys/wrapping/wrap", map[string]any{"a": "b"})
		if err != nil {
			panic(err)
		}
		return made.WrapInfo.Token
	}
	call(area, "SetWrappingLookupFunc", func() (bool, error) { return wrapped() != "", nil })
	call(area, "Unwrap", func() (bool, error) { return is(logical.Unwrap(wrapped())) })
	call(area, "Unwrap (its own token)", func() (bool, error) { return is(connect(wrapped()).Logical().Unwrap("")) })
}

func database(client *api.Client) {
	area, logical := "sys: leases", client.Logical()
	must := func(path string, data map[string]any) {
		if _, err := logical.Write(path, data); err != nil {
			panic(err)
		}
	}
	client.Sys().Mount("database", &api.MountInput{Type: "database"})
	must("database/config/shop", map[string]any{
		"plugin_name": "postgresql-database-plugin", "allowed_roles": "*", "connection_url": os.Getenv("COMPAT_PG_TEMPLATE"),
		"username": "strongroom", "password": os.Getenv("COMPAT_PG_PASSWORD"),
	})
	must("database/roles/app", map[string]any{
		"db_name": "shop", "default_ttl": "1h", "creation_statements": `CREATE ROLE "{{name}}" LOGIN PASSWORD '{{password}}'`,
	})
	sys := client.Sys()
	lease := func() string {
		made, err := logical.Read("database/creds/app")
		if err != nil {
			panic(err)
		}
		return made.LeaseID
	}
	id := lease()
	call(area, "Lookup", func() (bool, error) { r, err := sys.Lookup(id); return err == nil && r.Data["id"] == id, err })
	call(area, "Renew", func() (bool, error) { r, err := sys.Renew(id, 3600); return err == nil && r.LeaseID == id, err })
	call(area, "Revoke", func() (bool, error) { return done(sys.Revoke(id)) })
	id = lease()
	call(area, "RevokeWithOptions", func() (bool, error) { return done(sys.RevokeWithOptions(&api.RevokeOptions{LeaseID: id, Sync: true})) })
	lease()
	call(area, "RevokePrefix", func() (bool, error) { return done(sys.RevokePrefix("database/creds/app")) })
	lease()
	call(area, "RevokeForce", func() (bool, error) { return done(sys.RevokeForce("database/creds/app")) })
}

func main() {
	client := opening()
	chapters := []struct {
		name string
		tell func(*api.Client)
	}{
		{"mounts", mounts}, {"policies", policies}, {"operation", operation}, {"tokens", tokens}, {"logins", logins},
		{"kvTwo", kvTwo}, {"kvOne", kvOne}, {"anything", anything}, {"database", database},
	}
	for _, chapter := range chapters {
		func() {
			defer func() {
				if fault := recover(); fault != nil {
					fmt.Printf("NOTE %s ended early: %s\n", chapter.name, strings.Join(strings.Fields(fmt.Sprint(fault)), " "))
				}
			}()
			chapter.tell(client)
		}()
	}
}
