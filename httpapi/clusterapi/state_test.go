package clusterapi_test

import (
	"encoding/hex"
	"net/http"
	"testing"

	"github.com/kilonova/kilonova/httpapi/clusterapi"
)

// A node tells the digest of its state, and of which index. Every change makes it another one.
func TestState_TellsItsDigest(t *testing.T) {
	a := newAPI(t)
	var before, after struct{ State clusterapi.State }
	a.want(http.StatusOK, "GET", "/state", "", &before)
	hash := a.Local().Hash()
	if before.State.Hash != hex.EncodeToString(hash[:]) || before.State.Index != a.Local().Index() || len(before.State.Broken) > 0 {
		t.Errorf("the state is %+v", before.State)
	}
	a.want(http.StatusOK, "PUT", "/settings", `{"settings":{"restarts":3}}`, nil)
	a.want(http.StatusOK, "GET", "/state", "", &after)
	if after.State.Hash == before.State.Hash || after.State.Index <= before.State.Index {
		t.Errorf("after a change it is %+v, and was %+v", after.State, before.State)
	}
}
