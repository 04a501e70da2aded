package node

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// A monitor asks a node. It hears of the requests, the proposals, the nodes and the instances; whatever a client makes up does not become
// a label, and no secret is told.
func TestMetrics_TellOfTheNodeAndTheCluster(t *testing.T) {
	l := newLAN(t)
	n1 := l.first()
	token := l.token(n1, nil)
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} // who answers does not matter here
	base := "https://" + n1.cfg.at(APIPort)
	for _, method := range []string{http.MethodGet, "MADEUP"} {
		req, err := http.NewRequest(method, base+"/compute/v2.1/servers", nil)
		if err != nil {
			t.Fatal(err)
		}
		if res, err := client.Do(req); err == nil {
			res.Body.Close()
		}
	}
	var text string
	l.until("the node has told of itself", func() bool {
		res, err := client.Get(base + "/metrics")
		if err != nil {
			return false
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		text = string(b)
		return err == nil && strings.Contains(text, fmt.Sprintf("kilonova_node_limit{resource=\"vcpus\"} %d", 4*n1.cfg.Hypervisor.Sim.VCPUs))
	})
	for _, want := range []string{
		`kilonova_nodes{state="up"} 1`, `kilonova_nodes{state="down"} 0`, `kilonova_instances{state="active"} 0`, `kilonova_node_instances 0`,
		`kilonova_propose_seconds_count{op="PutJoinToken",outcome="done"} 1`, `kilonova_raft_`, `go_goroutines`,
		`kilonova_http_request_seconds_count{method="GET",service="compute",status="401"} 1`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s", want)
		}
	}
	for _, secret := range []string{"MADEUP", token, strings.TrimPrefix(token, "kn1.")[:20]} {
		if strings.Contains(text, secret) {
			t.Errorf("the metrics tell %.8s...", secret)
		}
	}
}
