package cloud

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"gopkg.in/yaml.v3"
)

const (
	// CloudName is the cloud's name in clouds.yaml.
	CloudName = "kilonova"
	// maxAnswer bounds what is read of one answer.
	maxAnswer      = 16 << 20
	requestTimeout = 15 * time.Second
)

// Member is a node as the cluster lists it.
type Member struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Address string `json:"address"`
	State   string `json:"state"`  // up, down
	Raft    string `json:"raft"`   // leader, voter, non-voter, none
	Status  string `json:"status"` // enabled, disabled, draining, not ready
	Why     string `json:"why"`    // of a status other than enabled
}

// clients is what the machine needs to talk to the cluster.
type clients struct {
	http *http.Client
	auth passwordAuth

	mu    sync.Mutex
	token string
}

// passwordAuth is who clouds.yaml says we are.
type passwordAuth struct {
	Username string `yaml:"username"`
	Password string `yaml:"password"`
	Project  string `yaml:"project_name"`
}

// export copies clouds.yaml and the CA from a host to where clients on the machine can use them.
func (c *Cloud) export(from *Node) error {
	path, err := from.Host.Path(filepath.Join(from.Host.DataDir(), "clouds.yaml"))
	if err != nil {
		return err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("export clouds.yaml: %w", err)
	}
	var file struct {
		Clouds map[string]map[string]any `yaml:"clouds"`
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		return fmt.Errorf("read clouds.yaml: %w", err)
	}
	entry := file.Clouds[CloudName]
	inside, ok := entry["cacert"].(string)
	if !ok {
		return fmt.Errorf("read clouds.yaml: cloud %s names no cacert", CloudName)
	}
	if path, err = from.Host.Path(inside); err != nil {
		return err
	}
	ca, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("export CA: %w", err)
	}
	outside := c.authority()
	entry["cacert"] = outside
	if text, err = yaml.Marshal(file); err != nil {
		return fmt.Errorf("write clouds.yaml: %w", err)
	}
	c.clouds = filepath.Join(c.Lab.Dir(), c.apart+"clouds.yaml")
	if err := errors.Join(os.WriteFile(outside, ca, 0o644), os.WriteFile(c.clouds, text, 0o600)); err != nil {
		return fmt.Errorf("export clouds.yaml: %w", err)
	}
	c.clients, err = newClients(text, ca)
	return err
}

// Export takes the credentials and the authorities from a node's host again, for clients on the machine: those of before are no longer good when the
// cluster has another authority.
func (c *Cloud) Export(from *Node) error {
	if c.clients != nil {
		c.clients.close()
	}
	return c.export(from)
}

// authority is the file with the CA's certificate, for clients on the machine.
func (c *Cloud) authority() string { return filepath.Join(c.Lab.Dir(), c.apart+"ca.pem") }

func newClients(clouds, ca []byte) (*clients, error) {
	var file struct {
		Clouds map[string]struct {
			Auth passwordAuth `yaml:"auth"`
		} `yaml:"clouds"`
	}
	if err := yaml.Unmarshal(clouds, &file); err != nil {
		return nil, fmt.Errorf("read clouds.yaml: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, errors.New("read CA: no certificate in it")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}
	return &clients{
		http: &http.Client{Transport: transport},
		auth: file.Clouds[CloudName].Auth,
	}, nil
}

// HTTPClient is a client that trusts the cluster's CA, for what Ask is not made for. It is closed with the cluster.
func (c *Cloud) HTTPClient() *http.Client { return c.clients.http }

func (c *clients) close() { c.http.CloseIdleConnections() }

// OpenStack runs the stock openstack client on the machine against one node, and returns its standard output.
func (c *Cloud) OpenStack(ctx context.Context, via *Node, args ...string) (string, error) {
	return c.Client(ctx, via, "openstack", args...)
}

// Client runs a stock client, "openstack" or "nova", as OpenStack does. The latter does not read clouds.yaml, so it gets what stands
// there by its environment.
func (c *Cloud) Client(ctx context.Context, via *Node, program string, args ...string) (string, error) {
	url := via.URL() + "/identity/v3"
	env := []string{"OS_CLIENT_CONFIG_FILE=" + c.clouds}
	if program == "nova" {
		a := c.clients.auth
		env = []string{"OS_AUTH_URL=" + url, "OS_USERNAME=" + a.Username, "OS_PASSWORD=" + a.Password, "OS_PROJECT_NAME=" + a.Project,
			"OS_USER_DOMAIN_NAME=Default", "OS_PROJECT_DOMAIN_NAME=Default", "OS_CACERT=" + c.authority()}
	} else {
		args = append([]string{"--os-cloud", CloudName, "--os-auth-url", url}, args...)
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// Members lists the nodes as the given one sees them.
func (c *Cloud) Members(ctx context.Context, via *Node) ([]Member, error) {
	var answer struct {
		Nodes []Member `json:"nodes"`
	}
	if err := c.Get(ctx, via, "/cluster/v1/nodes", &answer); err != nil {
		return nil, fmt.Errorf("list nodes: %w", err)
	}
	return answer.Nodes, nil
}

// anyMembers lists the nodes as the first node that answers sees them.
func (c *Cloud) anyMembers(ctx context.Context) ([]Member, error) {
	var errs []error
	for _, via := range c.Nodes {
		if via.Daemon == nil || !via.Host.IsOn() {
			continue
		}
		members, err := c.Members(ctx, via)
		if err == nil {
			return members, nil
		}
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("list nodes: none answers: %w", errors.Join(errs...))
}

// Leader returns the node that leads, as the first node that answers says.
func (c *Cloud) Leader(ctx context.Context) (*Node, error) {
	members, err := c.anyMembers(ctx)
	if err != nil {
		return nil, fmt.Errorf("find leader: %w", err)
	}
	for _, m := range members {
		if n := c.named(m.Name); m.Raft == "leader" && n != nil {
			return n, nil
		}
	}
	return nil, errors.New("find leader: no node is known to lead")
}

// Follower returns a node that does not lead.
func (c *Cloud) Follower(ctx context.Context) (*Node, error) {
	leader, err := c.Leader(ctx)
	if err != nil {
		return nil, err
	}
	for _, n := range c.Nodes {
		if n != leader && n.Host.IsOn() {
			return n, nil
		}
	}
	return nil, errors.New("find follower: the leader is alone")
}

func (c *Cloud) named(name string) *Node {
	for _, n := range c.Nodes {
		if n.Name() == name {
			return n
		}
	}
	return nil
}

// login returns the token in use, or gets one from the node at url.
func (c *clients) login(ctx context.Context, url string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.token != "" {
		return c.token, nil
	}
	domain := map[string]any{"name": "Default"}
	user := map[string]any{"name": c.auth.Username, "password": c.auth.Password, "domain": domain}
	body, err := json.Marshal(map[string]any{"auth": map[string]any{
		"identity": map[string]any{"methods": []string{"password"}, "password": map[string]any{"user": user}},
		"scope":    map[string]any{"project": map[string]any{"name": c.auth.Project, "domain": domain}},
	}})
	if err != nil {
		return "", fmt.Errorf("log in: %w", err)
	}
	a, err := c.send(ctx, url, Request{Method: http.MethodPost, Path: "/identity/v3/auth/tokens", Body: body})
	if err == nil {
		err = a.Want(http.StatusCreated)
	}
	if err != nil {
		return "", fmt.Errorf("log in: %w", err)
	}
	c.token = a.Header.Get("X-Subject-Token")
	return c.token, nil
}

// forget drops a token that a node refused.
func (c *clients) forget(token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.token == token {
		c.token = ""
	}
}
