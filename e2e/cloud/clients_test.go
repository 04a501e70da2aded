package cloud

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestNewClients_RefusesBrokenFiles(t *testing.T) {
	for name, in := range map[string][2]string{
		"no YAML":          {"\t", ""},
		"no certificate":   {"clouds: {}", "nothing"},
		"clouds is a list": {"clouds: [a]", ""},
	} {
		if _, err := newClients([]byte(in[0]), []byte(in[1])); err == nil {
			t.Errorf("%s: newClients takes it", name)
		}
	}
}

// The clients log in as clouds.yaml says, with the cluster's own CA, keep the token, and ask for another one once a
// node refuses it.
func TestSend_LogsInAgainAfterARefusal(t *testing.T) {
	logins, refused := 0, false
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/identity/v3/auth/tokens":
			var body struct {
				Auth struct {
					Identity struct {
						Password struct {
							User struct{ Name, Password string }
						}
					}
				}
			}
			if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body.Auth.Identity.Password.User.Password != "secret" {
				t.Errorf("login with %+v, %v", body, err)
			}
			logins++
			w.Header().Set("X-Subject-Token", "t")
			w.WriteHeader(http.StatusCreated)
		case "/thing":
			if r.Header.Get("X-Auth-Token") != "t" || !refused {
				refused = true
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			_, _ = w.Write([]byte(`{"name": "thing"}`))
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer server.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	c, err := newClients([]byte("clouds: {kilonova: {auth: {username: admin, password: secret, project_name: admin}}}"), ca)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	ctx := context.Background()
	cloud, node := &Cloud{clients: c}, &Node{url: server.URL}
	var thing struct{ Name string }
	if err := cloud.Get(ctx, node, "/thing", &thing); err == nil {
		t.Error("the first get was refused, and returned no error")
	}
	if err := cloud.Get(ctx, node, "/thing", &thing); err != nil || thing.Name != "thing" || logins != 2 {
		t.Errorf("get = %+v, %v after %d logins; want the thing after 2", thing, err, logins)
	}
	if err := cloud.Get(ctx, node, "/absent", nil); err == nil {
		t.Error("404 is no error")
	}
}
