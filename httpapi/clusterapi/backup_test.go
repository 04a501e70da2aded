package clusterapi_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/clusterapi"
)

// A backup holds the key of the authority: whoever may open the socket gets it, and no administrator of the cloud does.
func TestBackup_IsForTheSocketAlone(t *testing.T) {
	a := newAPI(t)
	if got, _, text := a.ask(http.MethodGet, "/backup", "admin", ""); got != http.StatusNotFound {
		t.Errorf("an administrator gets %d %.100s", got, text)
	}
	w := httptest.NewRecorder()
	clusterapi.LocalRouter(a.config()).ServeHTTP(w, httptest.NewRequest(http.MethodGet, clusterapi.Path+"/backup", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("the socket gives %d %s", w.Code, w.Body)
	}
	head, s, err := cluster.ReadBackup(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	if head.Version != "v9" || s.View().Hash() != a.Local().Hash() {
		t.Errorf("it is %+v", head)
	}
}

// A cluster that was made anew has nothing to confirm.
func TestConfirmRestore_OfAClusterThatWasNotRestored(t *testing.T) {
	a := newAPI(t)
	a.refused(http.StatusConflict, "conflictingRequest", "not restored", http.MethodPost, "/confirm-restore", "")
}
