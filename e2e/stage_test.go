package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/kilonova/kilonova/e2e/cloud"
	"github.com/kilonova/kilonova/e2e/lab"
)

// binaryEnv names the kilonova program under test.
const binaryEnv = "KILONOVA_BIN"

const (
	// stageTimeout bounds a whole test, its cluster's making included.
	stageTimeout = 12 * time.Minute
	uploadLimit  = 2 * time.Minute
	pollEvery    = 250 * time.Millisecond
	logLines     = 40 // of each daemon, shown after a failure
)

func TestMain(m *testing.M) {
	status := m.Run()
	if os.Geteuid() == 0 && os.Getenv(binaryEnv) != "" {
		if left, err := lab.Leftovers(); err != nil || len(left) > 0 {
			fmt.Fprintln(os.Stderr, "left behind by the tests:", left, err)
			status = 1
		}
	}
	os.Exit(status)
}

// needHosts skips a test where no hosts can be made, and returns the program under test.
func needHosts(t *testing.T) string {
	t.Helper()
	binary := os.Getenv(binaryEnv)
	if os.Geteuid() != 0 || testing.Short() || binary == "" {
		t.Skip("hosts need root, " + binaryEnv + " (make test sets it), and are left out of -short")
	}
	return binary
}

// wholeEnv has the stories told whole of which "make test" tells a part, because they take long.
const wholeEnv = "KILONOVA_TEST_OPERATIONS"

// wholeProgramme tells whether the stories are told whole, as "make test-operations" has it.
func wholeProgramme() bool { return os.Getenv(wholeEnv) != "" }

// stage is a cluster with what its stories need at hand.
type stage struct {
	*cloud.Cloud
	t   *testing.T
	ctx context.Context
}

// newStage makes a cluster for one test. It goes with the test, and what its daemons said is shown if the test failed.
func newStage(t *testing.T, opts cloud.Options) *stage {
	t.Helper()
	return newLongStage(t, opts, stageTimeout)
}

// newLongStage is newStage for a test that may take so long.
func newLongStage(t *testing.T, opts cloud.Options, limit time.Duration) *stage {
	t.Helper()
	opts.Binary = needHosts(t)
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	began := time.Now()
	c, err := cloud.Up(ctx, opts)
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{Cloud: c, t: t, ctx: ctx}
	t.Cleanup(func() {
		if t.Failed() {
			s.showLogs()
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	if opts.Nodes >= 3 {
		s.must(c.WaitVoters(ctx, 3))
	}
	t.Logf("%d nodes are up after %.1f s", opts.Nodes, time.Since(began).Seconds())
	return s
}

// newSimStage makes a cluster of simulated hypervisors.
func newSimStage(t *testing.T, nodes int, flags ...string) *stage {
	t.Helper()
	return newStage(t, cloud.Options{Nodes: nodes, Driver: "sim", DiskMiB: 1024, Flags: append([]string{"--sim-boot-delay", "50ms"}, flags...)})
}

// on is the stage for a part of its test, which fails alone.
func (s *stage) on(t *testing.T) *stage { return &stage{Cloud: s.Cloud, t: t, ctx: s.ctx} }

// run tells one part of the story. Later parts go on from where it ended, so they are not told when it failed.
func (s *stage) run(name string, tell func(s *stage)) {
	s.t.Helper()
	if !s.t.Run(name, func(t *testing.T) { tell(s.on(t)) }) {
		s.t.FailNow()
	}
}

func (s *stage) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) showLogs() {
	for _, n := range s.Nodes {
		if n.Daemon == nil {
			continue
		}
		log, err := n.Daemon.Log()
		if err != nil {
			s.t.Log(err)
			continue
		}
		lines := strings.Split(strings.TrimSpace(log), "\n")
		s.t.Logf("the end of the log of %s:\n%s", n.Name(), strings.Join(lines[max(0, len(lines)-logLines):], "\n"))
	}
}

// eventually asks again and again until ask gives no error, and fails with the last one when that takes too long.
func (s *stage) eventually(what string, limit time.Duration, ask func() error) {
	s.t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := ask()
		if err == nil {
			return
		}
		if time.Now().After(deadline) || s.ctx.Err() != nil {
			s.t.Fatalf("%s: not within %s: %v", what, limit, err)
		}
		time.Sleep(pollEvery)
	}
}

// openstack runs the stock client against a node.
func (s *stage) openstack(via *cloud.Node, args ...string) string {
	s.t.Helper()
	out, err := s.OpenStack(s.ctx, via, args...)
	s.must(err)
	return out
}

// follower is a node that does not lead.
func (s *stage) follower() *cloud.Node {
	s.t.Helper()
	n, err := s.Follower(s.ctx)
	s.must(err)
	return n
}

func (s *stage) leader() *cloud.Node {
	s.t.Helper()
	n, err := s.Leader(s.ctx)
	s.must(err)
	return n
}

// supplies are what a server is made from.
type supplies struct{ image, flavor, network string } // IDs

// supply makes an image of a few bytes, which only a simulated hypervisor boots, a flavor and a network.
func (s *stage) supply(via *cloud.Node) supplies {
	s.t.Helper()
	var flavor, network struct{ ID string }
	image := s.newImage(via, "tiny")
	s.must(s.upload(via, image, bytes.Repeat([]byte("kilonova"), 64<<10)))
	var made struct{ Flavor, Network *struct{ ID string } }
	made.Flavor, made.Network = &flavor, &network
	s.must(s.Do(s.ctx, via, cloud.Request{Method: http.MethodPost, Path: "/compute/v2.1/flavors", Body: map[string]any{
		"flavor": map[string]any{"name": "tiny", "ram": 64, "vcpus": 1, "disk": 1},
	}}, &made, http.StatusOK))
	s.must(s.Do(s.ctx, via, cloud.Request{Method: http.MethodPost, Path: "/network/v2.0/networks", Body: map[string]any{
		"network": map[string]any{"name": "lan", "shared": true, "provider:network_type": "flat", "provider:physical_network": cloud.ProviderNetwork},
	}}, &made, http.StatusCreated))
	s.must(s.Do(s.ctx, via, cloud.Request{Method: http.MethodPost, Path: "/network/v2.0/subnets", Body: map[string]any{
		"subnet": map[string]any{"network_id": network.ID, "ip_version": 4, "cidr": "10.200.0.0/16", "enable_dhcp": false},
	}}, nil, http.StatusCreated))
	s.liftQuota(via)
	return supplies{image, flavor.ID, network.ID}
}

// liftQuota lets the administrator's project have as much as fits.
func (s *stage) liftQuota(via *cloud.Node) {
	s.t.Helper()
	var found struct{ Projects []struct{ ID string } }
	s.must(s.Get(s.ctx, via, "/identity/v3/projects?name=admin", &found))
	s.must(s.Do(s.ctx, via, cloud.Request{Method: http.MethodPut, Path: "/compute/v2.1/os-quota-sets/" + found.Projects[0].ID, Body: map[string]any{
		"quota_set": map[string]int{"instances": -1, "cores": -1, "ram": -1},
	}}, nil, http.StatusOK))
	s.must(s.Do(s.ctx, via, cloud.Request{Method: http.MethodPut, Path: "/network/v2.0/quotas/" + found.Projects[0].ID, Body: map[string]any{
		"quota": map[string]int{"port": -1},
	}}, nil, http.StatusOK))
}

// newImage makes the record of a raw image and returns its ID.
func (s *stage) newImage(via *cloud.Node, name string) string {
	s.t.Helper()
	var image struct{ ID string }
	s.must(s.Do(s.ctx, via, cloud.Request{Method: http.MethodPost, Path: "/image/v2/images", Body: map[string]any{
		"name": name, "disk_format": "raw", "container_format": "bare", "visibility": "public",
	}}, &image, http.StatusCreated))
	return image.ID
}

// uploadOf gives an image its bytes.
func uploadOf(image string, content []byte) cloud.Request {
	return cloud.Request{
		Method: http.MethodPut, Path: "/image/v2/images/" + image + "/file", Body: content,
		Header:  map[string]string{"Content-Type": "application/octet-stream", "Accept": "application/json"},
		Timeout: uploadLimit,
	}
}

func (s *stage) upload(via *cloud.Node, image string, content []byte) error {
	return s.Do(s.ctx, via, uploadOf(image, content), nil, http.StatusNoContent)
}

// server is what the stories look at in Nova's.
type server struct {
	ID, Name, Status string
	Host             string `json:"OS-EXT-SRV-ATTR:host"`
	TaskState        string `json:"OS-EXT-STS:task_state"`
	Addresses        map[string][]struct {
		Addr string `json:"addr"`
		MAC  string `json:"OS-EXT-IPS-MAC:mac_addr"`
	}
	Fault struct{ Message, Details string }
}

// ip is the server's first address on the network of the stories.
func (s server) ip() string {
	if a := s.Addresses["lan"]; len(a) > 0 {
		return a[0].Addr
	}
	return ""
}

// createRequest asks for a server.
func (p supplies) createRequest(name string) cloud.Request {
	return cloud.Request{Method: http.MethodPost, Path: "/compute/v2.1/servers", Body: map[string]any{"server": map[string]any{
		"name": name, "imageRef": p.image, "flavorRef": p.flavor, "networks": []any{map[string]string{"uuid": p.network}},
	}}}
}

// create asks a node for a server and returns its ID.
func (s *stage) create(via *cloud.Node, r cloud.Request) string {
	s.t.Helper()
	var made struct{ Server struct{ ID string } }
	s.must(s.Do(s.ctx, via, r, &made, http.StatusAccepted))
	return made.Server.ID
}

// servers lists all servers, as one node gives them, page by page.
func (s *stage) servers(via *cloud.Node) ([]server, error) {
	var all []server
	for marker := ""; ; {
		var page struct{ Servers []server }
		if err := s.Get(s.ctx, via, "/compute/v2.1/servers/detail?all_tenants=1"+marker, &page); err != nil {
			return nil, err
		}
		if len(page.Servers) == 0 {
			return all, nil
		}
		all = append(all, page.Servers...)
		marker = "&marker=" + page.Servers[len(page.Servers)-1].ID
	}
}

func (s *stage) show(via *cloud.Node, id string) (server, error) {
	var one struct{ Server server }
	err := s.Get(s.ctx, via, "/compute/v2.1/servers/"+id, &one)
	return one.Server, err
}

// waitStatus waits until a server has a status.
func (s *stage) waitStatus(via *cloud.Node, id, want string, limit time.Duration) server {
	s.t.Helper()
	var now server
	s.eventually("server "+id+" becomes "+want, limit, func() (err error) {
		if now, err = s.show(via, id); err != nil {
			return err
		}
		if now.Status != want {
			return fmt.Errorf("it is %s (%s) on %q: %s %s", now.Status, now.TaskState, now.Host, now.Fault.Message, now.Fault.Details)
		}
		return nil
	})
	return now
}

// runHere runs a program on the machine and returns all that it said.
func runHere(ctx context.Context, argv ...string) (string, error) {
	out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput()
	return string(out), err
}
