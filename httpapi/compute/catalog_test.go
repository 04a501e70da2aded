package compute_test

import (
	"crypto/ed25519"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/kilonova/kilonova/cluster"
)

// flavorBody is a request for a flavor.
func flavorBody(more object) object {
	f := object{"os-flavor-access:is_public": true, "rxtx_factor": 1.0, "swap": 0, "disk": 1, "ram": 96, "OS-FLV-EXT-DATA:ephemeral": 0, "vcpus": 2,
		"id": nil, "name": "lab.flavor"}
	for k, v := range more {
		f[k] = v
	}
	return object{"flavor": f}
}

// Flavors look as a real Nova shows them, at each microversion that changed them.
func TestFlavors_LookAsNovaShowsThem(t *testing.T) {
	l := newLab(t)
	l.golden("124-flavor-list#3", l.do("admin", "2.61", "GET", "/flavors/detail?is_public=True", nil))
	l.golden("141-flavors-raw-mv2.93", l.do("admin", "2.93", "GET", "/flavors/detail?limit=2", nil))
	l.golden("142-flavors-raw-mv2.1", l.do("admin", "", "GET", "/flavors/detail?limit=2", nil))
	next := l.do("admin", "", "GET", "/flavors?limit=1", nil)
	l.golden("143-flavors-pagination", next)
	if got := next.text("flavors_links", 0, "href"); got != "http://cloud.example:8774/compute/v2.1/flavors?limit=1&marker=1" {
		t.Errorf("next is %s", got)
	}
	a := l.do("admin", "2.61", "POST", "/flavors", flavorBody(nil))
	l.golden("127-flavor-create#3", a)
	path := "/flavors/" + a.text("flavor", "id")
	l.golden("128-flavor-create-mv2.55-description#3", l.do("admin", "2.92", "POST", "/flavors", flavorBody(object{"description": "text", "id": "lab-desc", "name": "d"})))
	specs := object{"extra_specs": object{"hw:cpu_threads": "1", "trait:X": "required"}}
	l.golden("129-flavor-set-extra-specs#5", l.do("admin", "2.61", "POST", path+"/os-extra_specs", specs))
	if got := l.do("admin", "", "GET", path+"/os-extra_specs/trait:X", nil).want(200); string(got.body) != `{"trait:X":"required"}` {
		t.Errorf("%s", got.body)
	}
	l.do("admin", "", "PUT", path+"/os-extra_specs/n", object{"n": 5}).want(200)
	l.do("admin", "", "PUT", path+"/os-extra_specs/n", object{"m": "5"}).fails(400, "Request body and URI mismatch")
	l.golden("131-flavor-unset-extra-specs#5", l.do("admin", "2.61", "DELETE", path+"/os-extra_specs/hw:cpu_threads", nil))
	l.do("admin", "", "DELETE", path+"/os-extra_specs/hw:cpu_threads", nil).fails(404, "has no extra specs with key hw:cpu_threads.")
	l.golden("139-error-404-flavor", l.do("demo", "", "GET", "/flavors/nope", nil))
	l.golden("137-error-403-flavor-create-as-member", l.do("demo", "2.61", "POST", "/flavors", flavorBody(nil)))
	l.golden("136-flavor-create-duplicate-409", l.do("admin", "2.61", "POST", "/flavors", flavorBody(nil)))
	l.do("admin", "", "POST", "/flavors", flavorBody(object{"id": "1", "name": "other"})).fails(409, "Flavor with ID 1 already exists.")
	if got := l.do("admin", "2.55", "PUT", path, object{"flavor": object{"description": "new"}}).want(200).text("flavor", "description"); got != "new" {
		t.Errorf("description is %s", got)
	}
	l.golden("144-flavor-delete#5", l.do("admin", "2.61", "DELETE", path, nil))
	l.do("admin", "2.61", "DELETE", path, nil).fails(404, "could not be found")
}

// A private flavor exists only for the projects that were let in.
func TestFlavors_PrivateOnesAreSeenByThoseLetIn(t *testing.T) {
	l := newLab(t)
	l.do("admin", "", "POST", "/flavors", flavorBody(object{"id": "p", "os-flavor-access:is_public": "false"})).want(200)
	sees := func(want bool) {
		t.Helper()
		status := map[bool]int{true: 200, false: 404}[want]
		l.do("demo", "", "GET", "/flavors/p", nil).want(status)
		if got := strings.Contains(string(l.do("demo", "", "GET", "/flavors/detail", nil).body), "lab.flavor"); got != want {
			t.Errorf("listed: %v", got)
		}
		if !want {
			l.do("demo", "2.79", "POST", "/servers", l.request("x", object{"flavorRef": "p"})).fails(400, "Flavor p could not be found.")
		}
	}
	sees(false)
	tenant := object{"tenant": l.Projs["demo"]}
	l.golden("133-flavor-access-add#8", l.do("admin", "", "POST", "/flavors/p/action", object{"addTenantAccess": tenant}))
	sees(true)
	l.do("admin", "", "POST", "/flavors/p/action", object{"addTenantAccess": tenant}).fails(409, "Flavor access already exists")
	l.golden("134-flavor-access-list", l.do("admin", "", "GET", "/flavors/p/os-flavor-access", nil))
	l.do("admin", "", "POST", "/flavors/p/action", object{"removeTenantAccess": tenant}).want(200)
	sees(false)
	l.do("admin", "", "POST", "/flavors/p/action", object{"removeTenantAccess": tenant}).fails(404, "Flavor access not found")
	l.do("admin", "", "POST", "/flavors/p/action", object{"addTenantAccess": object{"tenant": "nobody"}}).fails(400, "is not a valid project.")
	l.do("admin", "", "POST", "/flavors/1/action", object{"addTenantAccess": tenant}).fails(409, "Can not add access to a public flavor.")
	l.do("admin", "", "GET", "/flavors/1/os-flavor-access", nil).fails(404, "Access list not available for public flavors.")
	for query, want := range map[string]int{"": 2, "?is_public=None": 3, "?is_public=False": 1, "?is_public=none&minRam=90": 1, "?minDisk=2": 0} {
		if n := l.do("admin", "", "GET", "/flavors"+query, nil).want(200).count("flavors"); n != want {
			t.Errorf("%q: %d flavors instead of %d", query, n, want)
		}
	}
}

// What is no flavor is refused.
func TestFlavors_BadOnesAreRefused(t *testing.T) {
	l := newLab(t)
	for name, tc := range map[string]struct {
		change  object
		message string
	}{
		"no memory":        {object{"ram": 0}, "0 is less than the minimum of 1"},
		"memory in words":  {object{"ram": "much"}, "'much' does not match"},
		"huge memory":      {object{"ram": 1 << 40}, "is greater than the maximum of 2147483647"},
		"huge text":        {object{"ram": "99999999999999999999"}, "is"},
		"half a processor": {object{"vcpus": 1.5}, "1.5 is not of type 'integer', 'string'"},
		"empty name":       {object{"name": ""}, "'' is too short"},
		"NUL":              {object{"name": "a\x00"}, "An invalid 'name' value was provided."},
		"ID":               {object{"id": "../etc"}, "does not match"},
		"factor":           {object{"rxtx_factor": "fast"}, "does not match"},
		"no factor":        {object{"rxtx_factor": 0}, "It must be greater than 0"},
		"unknown":          {object{"zzz": 1}, "('zzz' was unexpected)"},
		"too early":        {object{"description": "x"}, "('description' was unexpected)"},
	} {
		t.Run(name, func(t *testing.T) {
			l.do("admin", "", "POST", "/flavors", flavorBody(tc.change)).fails(400, tc.message)
		})
	}
	l.do("admin", "", "GET", "/flavors?is_public=maybe", nil).fails(400, "Invalid is_public filter [maybe]")
	l.do("admin", "", "GET", "/flavors?minRam=x", nil).fails(400, "Invalid minRam filter [x]")
	l.do("admin", "", "GET", "/flavors?sort_key=zzz", nil).fails(400, "is not one of")
	l.do("admin", "2.75", "GET", "/flavors?zzz=1", nil).fails(400, "'zzz' does not match any of the regexes")
}

// publicKey is a key to import.
func publicKey(t *testing.T) string {
	pub, err := ssh.NewPublicKey(ed25519.NewKeyFromSeed(make([]byte, 32)).Public())
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(pub))) + " me@home\n"
}

// Key pairs are made, or imported, and look as a real Nova shows them.
func TestKeyPairs_LookAsNovaShowsThem(t *testing.T) {
	l := newLab(t)
	made := l.do("demo", "2.10", "POST", "/os-keypairs", object{"keypair": object{"name": "labkey"}})
	l.golden("145-keypair-create-generated", made)
	key, err := ssh.ParsePrivateKey([]byte(made.text("keypair", "private_key")))
	if err != nil {
		t.Fatal(err)
	}
	if got := ssh.FingerprintLegacyMD5(key.PublicKey()); got != made.text("keypair", "fingerprint") {
		t.Errorf("fingerprint is %s, that of the private key %s", made.text("keypair", "fingerprint"), got)
	}
	l.golden("146-keypair-create-import", l.do("demo", "2.10", "POST", "/os-keypairs", object{"keypair": object{"name": "labkey2", "public_key": publicKey(t)}}))
	l.golden("148-keypair-list", l.do("demo", "2.10", "GET", "/os-keypairs", nil))
	l.golden("150-keypair-show", l.do("demo", "2.10", "GET", "/os-keypairs/labkey", nil))
	l.golden("152-keypair-create-duplicate-409", l.do("demo", "2.10", "POST", "/os-keypairs", object{"keypair": object{"name": "labkey"}}))
	l.golden("154-error-404-keypair#3", l.do("demo", "2.10", "GET", "/os-keypairs/nope", nil))
	l.golden("155-keypair-create-generated-mv2.92-400", l.do("demo", "2.92", "POST", "/os-keypairs", object{"keypair": object{"name": "x"}}))
	l.golden("156-keypair-delete", l.do("demo", "2.10", "DELETE", "/os-keypairs/labkey", nil))
	l.do("demo", "", "DELETE", "/os-keypairs/labkey2", nil).want(http.StatusAccepted)
	l.do("demo", "", "DELETE", "/os-keypairs/labkey2", nil).fails(404, "Keypair labkey2 not found for user "+string(l.Users["demo"]))
	if a := l.do("demo", "", "POST", "/os-keypairs", object{"keypair": object{"name": "old", "public_key": publicKey(t)}}).want(200); a.at("keypair", "type") != nil {
		t.Errorf("2.1 shows a type: %s", a.body)
	}
}

// A key pair belongs to a user, whom only administrators may name.
func TestKeyPairs_BelongToUsers(t *testing.T) {
	l := newLab(t)
	user := string(l.Users["demo"])
	l.do("admin", "2.10", "POST", "/os-keypairs", object{"keypair": object{"name": "k", "public_key": publicKey(t), "user_id": user}}).want(201)
	l.do("demo", "2.10", "GET", "/os-keypairs/k", nil).want(200)
	l.do("admin", "2.10", "GET", "/os-keypairs/k", nil).want(404)
	l.do("admin", "2.10", "GET", "/os-keypairs/k?user_id="+user, nil).want(200)
	l.do("other", "2.10", "GET", "/os-keypairs?user_id="+user, nil).fails(403, "Policy doesn't allow os_compute_api:os-keypairs:index to be performed.")
	l.do("demo", "2.35", "POST", "/os-keypairs", object{"keypair": object{"name": "l", "public_key": publicKey(t)}}).want(201)
	page := l.do("demo", "2.35", "GET", "/os-keypairs?limit=1", nil).want(200)
	if page.count("keypairs") != 1 || page.count("keypairs_links") != 1 {
		t.Errorf("%s", page.body)
	}
	if rest := l.do("demo", "2.35", "GET", "/os-keypairs?marker=k", nil).want(200); rest.text("keypairs", 0, "keypair", "name") != "l" {
		t.Errorf("%s", rest.body)
	}
}

// What is no key is refused: above all several at once, or one with options, which would reach guests.
func TestKeyPairs_BadOnesAreRefused(t *testing.T) {
	l := newLab(t)
	good := publicKey(t)
	for name, tc := range map[string]struct{ key, message string }{
		"no key":      {"not a key", "Keypair data is invalid: failed to generate fingerprint"},
		"two keys":    {good + good, "failed to generate fingerprint"},
		"options":     {`command="rm" ` + good, "failed to generate fingerprint"},
		"NUL":         {strings.TrimSpace(good) + "\x00", "failed to generate fingerprint"},
		"broken":      {good[:40], "failed to generate fingerprint"},
		"empty":       {" ", "failed to generate fingerprint"},
		"very long":   {strings.Repeat("a", 20000), "is too long"},
		"private key": {"-----BEGIN OPENSSH PRIVATE KEY-----", "failed to generate fingerprint"},
	} {
		t.Run(name, func(t *testing.T) {
			l.do("demo", "2.92", "POST", "/os-keypairs", object{"keypair": object{"name": "x", "public_key": tc.key}}).fails(400, tc.message)
		})
	}
	for _, name := range []string{"../x", "<x/>", "a\x00b", "ä"} {
		l.do("demo", "", "POST", "/os-keypairs", object{"keypair": object{"name": name, "public_key": good}}).fails(400, "")
	}
	l.do("demo", "", "POST", "/os-keypairs", object{"keypair": object{"name": "a@b", "public_key": good}}).fails(400, "unsafe characters")
	l.do("demo", "2.92", "POST", "/os-keypairs", object{"keypair": object{"name": "a@b", "public_key": good}}).want(201)
	l.do("demo", "2.2", "POST", "/os-keypairs", object{"keypair": object{"name": "c", "type": "pgp", "public_key": good}}).fails(400, "is not one of")
	l.golden("153-keypair-create-bad-key-400", l.do("demo", "", "POST", "/os-keypairs", object{"keypair": object{"name": "bad", "public_key": "not a key"}}))
}

// A repeated creation cannot give the private key again, which nobody kept, and must not give a wrong one.
func TestKeyPairs_RepeatedUnderAKeyHasNoPrivateKey(t *testing.T) {
	l := newLab(t)
	send := func() *answer {
		return l.send(ask{token: "demo", version: "2.10", method: "POST", path: "/compute/v2.1/os-keypairs",
			body: object{"keypair": object{"name": "k"}}, header: http.Header{"Idempotency-Key": {"x"}}}).want(201)
	}
	first, second := send(), send()
	if second.at("keypair", "private_key") != nil || first.text("keypair", "public_key") != second.text("keypair", "public_key") {
		t.Errorf("%s", second.body)
	}
	if k, ok := l.Local().KeyPair(l.Users["demo"], "k"); !ok || k.Type != "ssh" || k.User != cluster.UserID(first.text("keypair", "user_id")) {
		t.Errorf("%+v", k)
	}
}
