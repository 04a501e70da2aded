package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/kilonova/kilonova/node"
)

// cli calls the commands as a shell does. Its node is real, with a simulated hypervisor.
type cli struct {
	t   *testing.T
	dir string // the node's data directory
	url string // of Keystone
}

// startNode makes a cluster of one node and waits until it answers.
func startNode(t *testing.T) *cli {
	t.Helper()
	dir, err := os.MkdirTemp("", "kn") // t.TempDir is too long for the path of a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	cfg := node.DefaultConfig()
	cfg.Bind, cfg.DataDir, cfg.Name = fmt.Sprintf("127.%d.%d.%d", 10+rand.N(200), rand.N(250), 1+rand.N(250)), dir, "n1"
	cfg.Hypervisor.Driver, cfg.Hypervisor.Sim.BootDelay = "sim", 10*time.Millisecond
	cfg.Bridges = map[string]string{"lan": "br0"}
	cfg.Log = slog.New(slog.DiscardHandler)
	if _, err := node.Init(cfg); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- node.Run(ctx, cfg) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the node ended with %v", err)
		}
	})
	for begin := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		err := newLocal(dir).call(t.Context(), "GET", "/nodes", nil, nil)
		if err == nil {
			break
		}
		if time.Since(begin) > 20*time.Second {
			t.Fatalf("the node does not answer: %v", err)
		}
	}
	for _, name := range []string{"OS_CLOUD", "OS_AUTH_URL", "OS_CLIENT_CONFIG_FILE", "OS_CACERT", "OS_PASSWORD", "OS_REGION_NAME", "OS_INTERFACE"} {
		t.Setenv(name, "")
	}
	t.Setenv("KILONOVA_DATA_DIR", dir)
	return &cli{t: t, dir: dir, url: "https://" + cfg.Bind + ":8774/identity/v3"}
}

// run calls a command. It gives what it wrote to standard output and standard error, and its error.
func (c *cli) run(args ...string) (stdout, stderr string, err error) {
	var out, notes bytes.Buffer
	root := newRootCommand()
	root.SetArgs(args)
	root.SetOut(&out)
	root.SetErr(&notes)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err = execute(ctx, root)
	return out.String(), notes.String(), err
}

// must calls a command, written as one line, that has to succeed; it gives its output.
func (c *cli) must(line string, args ...any) string {
	c.t.Helper()
	out, _, err := c.run(strings.Fields(fmt.Sprintf(line, args...))...)
	if err != nil {
		c.t.Fatalf("kilonova %s: %v", fmt.Sprintf(line, args...), err)
	}
	return out
}

// fails calls a command that has to fail, with an error that contains a text.
func (c *cli) fails(want, line string, args ...any) {
	c.t.Helper()
	out, _, err := c.run(strings.Fields(fmt.Sprintf(line, args...))...)
	if err == nil || !strings.Contains(err.Error(), want) {
		c.t.Errorf("kilonova %s: error %v, want one with %q; output: %s", fmt.Sprintf(line, args...), err, want, out)
	}
}

// one calls a command with --output json, and decodes its object.
func (c *cli) one(line string, args ...any) map[string]any {
	c.t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(c.must(line+" -o json", args...)), &v); err != nil {
		c.t.Fatalf("kilonova %s: %v", line, err)
	}
	return v
}

// names are those of a list.
func (c *cli) names(line string, args ...any) string {
	c.t.Helper()
	var v []map[string]any
	if err := json.Unmarshal([]byte(c.must(line+" -o json", args...)), &v); err != nil {
		c.t.Fatalf("kilonova %s: %v", line, err)
	}
	var out []string
	for _, x := range v {
		out = append(out, fmt.Sprint(x["name"]))
	}
	return strings.Join(out, " ")
}

// disk writes a file that is a raw disk: a boot sector and nothing behind it.
func disk(t *testing.T) string {
	t.Helper()
	sector := make([]byte, 1<<20)
	sector[510], sector[511] = 0x55, 0xaa
	return writeTemp(t, "disk.raw", string(sector))
}

// furnish makes what a server needs: image, flavor, network, subnet.
func (c *cli) furnish() {
	c.t.Helper()
	c.must("flavor create small --ram 512 --vcpus 1 --disk 1 --property hw:cpu_policy=shared")
	c.must("network create lan --physical lan --shared")
	c.must("subnet create lan --network lan --range 192.0.2.0/24 --dns 192.0.2.1 --pool 192.0.2.100-192.0.2.200 --no-dhcp")
	c.must("image create debian --file %s --disk-format raw --public --property os_distro=debian --tag stable", disk(c.t))
}

// TestCLI_FromAnEmptyCloudToServersAndBack does with this one binary what a user does with a new cloud: an image, a flavor,
// a network, servers; looks at them, switches them off and on, and removes everything.
func TestCLI_FromAnEmptyCloudToServersAndBack(t *testing.T) {
	c := startNode(t)
	c.furnish()
	image := c.one("image show debian")
	if image["status"] != "active" || image["visibility"] != "public" || image["properties"].(map[string]any)["os_distro"] != "debian" {
		t.Errorf("image %v", image)
	}
	if f := c.one("flavor show small"); f["ram_mib"] != 512.0 || f["properties"].(map[string]any)["hw:cpu_policy"] != "shared" {
		t.Errorf("flavor %v", f)
	}
	if n := c.one("network show lan"); n["physical"] != "lan" || n["shared"] != true || n["mtu"] != 1500.0 {
		t.Errorf("network %v", n)
	}
	userData := writeTemp(t, "user-data", "#cloud-config\n")
	key := writeTemp(t, "key.pub", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIfVxGtFBtfKxlIcaHAbCDm2HNEkJI6OQHTHSxFLsm7A me@here\n")
	c.must("keypair create me --public-key %s", key)

	web := c.one("server create web --image debian --flavor small --network lan --key-name me --user-data %s --property role=front --wait", userData)
	for k, want := range map[string]any{"status": "ACTIVE", "image": "debian", "flavor": "small", "host": "n1", "key": "me", "name": "web"} {
		if web[k] != want {
			t.Errorf("server's %s is %v instead of %v", k, web[k], want)
		}
	}
	if got := fmt.Sprint(web["addresses"], web["properties"]); got != "[lan=192.0.2.100] map[role:front]" {
		t.Errorf("server has %s", got)
	}
	if log := c.must("server console-log web"); !strings.Contains(log, "web login:") {
		t.Errorf("console:\n%s", log)
	}
	c.must("server stop web --wait")
	if s := c.one("server show %s", web["id"]); s["status"] != "SHUTOFF" {
		t.Errorf("server %v", s)
	}
	c.must("server start web --wait")
	c.must("server reboot web --hard --wait")

	c.must("server create pool --image %s --flavor small --count 3 --wait", image["id"])
	if got := c.names("server list"); strings.Count(got, "pool-") != 3 || !strings.Contains(got, "web") {
		t.Errorf("servers %s", got)
	}
	if table := c.must("server list --all"); !strings.Contains(table, "PROJECT") || !strings.Contains(table, "ACTIVE") {
		t.Errorf("table:\n%s", table)
	}
	c.must("server create pinned --image debian --flavor small --host n1 --availability-zone nova --network none --wait")
	c.must("server delete web pool-1 pool-2 pool-3 pinned --wait")
	c.must("image delete debian")
	c.must("flavor delete small")
	c.must("keypair delete me")
	c.must("subnet delete lan")
	c.must("network delete lan")
	for _, kind := range []string{"server", "image", "flavor", "keypair", "subnet", "network"} {
		if got := c.names("%s list", kind); got != "" {
			t.Errorf("%ss that stay: %s", kind, got)
		}
	}
}

// TestCLI_RefusalsSayWhatToDo does what does not work. Each time the reason is said, and nothing half done stays.
func TestCLI_RefusalsSayWhatToDo(t *testing.T) {
	c := startNode(t)
	c.furnish()
	c.fails("already exists", "flavor create small --ram 512")
	c.fails("unknown for flat provider network", "network create x --physical nope")
	c.fails("overlaps with another subnet", "subnet create x --network lan --range 192.0.2.128/25")
	c.fails(`there is no image "nope": `+"`kilonova image list`", "server create x --image nope --flavor small")
	c.fails(`there is no flavor "nope"`, "server create x --image debian --flavor nope")
	c.fails(`there is no network "nope"`, "server create x --image debian --flavor small --network nope")
	c.fails("could not be found", "server create x --image debian --flavor small --host nope")
	c.fails(`there is no server "nope"`, "server delete nope")
	c.fails("00000000-0000-0000-0000-000000000000", "server show 00000000-0000-0000-0000-000000000000")
	c.fails("no such file", "server create x --image debian --flavor small --user-data /no/such/file")
	c.fails("image is refused", "image create liar --file %s --disk-format qcow2", disk(t))
	if got := c.names("image list"); got != "debian" {
		t.Errorf("images %s: the refused one is left", got)
	}
	c.must("flavor create huge --ram 99999999 --disk 1")
	out, notes, err := c.run("server", "create", "big", "--image", "debian", "--flavor", "huge", "--wait")
	if err == nil || !strings.Contains(err.Error(), "n1") && !strings.Contains(err.Error(), "uota") {
		t.Errorf("no room: %v\n%s%s", err, out, notes)
	}
	c.must("image create debian --file %s --disk-format raw", disk(t))
	c.fails(`2 images are called "debian": name one by its ID: `, "image show debian")
	c.fails("bad", "node show bad")
}

// TestCLI_SaveGivesBackWhatWasUploaded downloads an image. The file appears as a whole, or not at all.
func TestCLI_SaveGivesBackWhatWasUploaded(t *testing.T) {
	c := startNode(t)
	path := disk(t)
	_, notes, err := c.run("image", "create", "debian", "--file", path, "--disk-format", "raw")
	if err != nil || !strings.Contains(notes, "image debian: 1.0 MiB of 1.0 MiB") {
		t.Fatalf("%v: %s", err, notes)
	}
	into := filepath.Join(t.TempDir(), "out.raw")
	c.must("image save debian --file %s", into)
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(into); err != nil || !bytes.Equal(got, want) {
		t.Errorf("what came back differs, %v", err)
	}
	c.fails("no such file or directory", "image save debian --file /no/such/dir/out")
	c.fails(`there is no image "nope"`, "image save nope --file %s", into+"2")
	if _, err := os.Stat(into + "2"); err == nil {
		t.Error("a failed download left a file")
	}
}

// TestCLI_CredentialsComeFromWhereClientsLook logs in with each kind of credentials.
func TestCLI_CredentialsComeFromWhereClientsLook(t *testing.T) {
	c := startNode(t)
	file := node.CloudsFile(c.dir)
	c.must("server list") // the node's own
	for story, env := range map[string]map[string]string{
		"a cloud of a named file":     {"OS_CLOUD": "kilonova", "OS_CLIENT_CONFIG_FILE": file},
		"a named file with our cloud": {"OS_CLIENT_CONFIG_FILE": file},
	} {
		t.Run(story, func(t *testing.T) {
			t.Setenv("KILONOVA_DATA_DIR", "/nowhere")
			for k, v := range env {
				t.Setenv(k, v)
			}
			c.must("flavor list")
			c.must("flavor list --os-cloud kilonova")
			c.fails(`cloud "nope" not found`, "flavor list --os-cloud nope")
		})
	}
	t.Run("variables", func(t *testing.T) {
		t.Setenv("KILONOVA_DATA_DIR", "/nowhere")
		t.Setenv("OS_AUTH_URL", c.url)
		c.fails("OS_PASSWORD", "flavor list")
		t.Setenv("OS_USERNAME", "admin")
		t.Setenv("OS_PROJECT_NAME", "admin")
		t.Setenv("OS_PASSWORD", "wrong")
		c.fails("OS_CACERT", "flavor list")
		t.Setenv("OS_CACERT", filepath.Join(c.dir, "ca.pem"))
		c.fails("the user, the password or the project is wrong", "flavor list")
		t.Setenv("OS_PASSWORD", adminPassword(t, file))
		c.must("flavor list")
		t.Setenv("OS_AUTH_URL", strings.Replace(c.url, ":8774", ":9", 1))
		c.fails("is the node running?", "flavor list")
	})
	t.Run("none", func(t *testing.T) {
		t.Setenv("KILONOVA_DATA_DIR", t.TempDir())
		c.fails("there are no credentials: copy clouds.yaml", "flavor list")
		t.Setenv("OS_CLOUD", "kilonova")
		t.Setenv("OS_CLIENT_CONFIG_FILE", "/no/such/clouds.yaml")
		c.fails("`kilonova node init` wrote a clouds.yaml", "flavor list")
	})
}

func adminPassword(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if password, ok := strings.CutPrefix(strings.TrimSpace(line), "password: "); ok {
			return password
		}
	}
	t.Fatal("clouds.yaml has no password")
	return ""
}

// TestCLI_NodeCommandsAskTheLocalNode looks at the node, drains it and lets it work again.
func TestCLI_NodeCommandsAskTheLocalNode(t *testing.T) {
	c := startNode(t)
	if out := c.must("node list"); !strings.Contains(out, "n1") || !strings.Contains(out, "leader") {
		t.Errorf("nodes:\n%s", out)
	}
	c.must("node drain n1")
	if out := c.must("node show n1"); !strings.Contains(out, "drain") {
		t.Errorf("node:\n%s", out)
	}
	c.must("node undrain n1")
	if token := c.must("node token create --ttl 5m"); !strings.HasPrefix(token, "kn1.") {
		t.Errorf("token %s", token)
	}
	c.fails("only node of the cluster", "node leave")
	c.fails("no node runs on this machine", "node list --data-dir %s", t.TempDir())
}

// TestCLI_WrongCallsAreUsageErrors calls commands wrongly. The exit code says that nothing was done, and the message where
// to read how it is called.
func TestCLI_WrongCallsAreUsageErrors(t *testing.T) {
	t.Setenv("KILONOVA_DATA_DIR", t.TempDir())
	c := &cli{t: t}
	for _, line := range []string{
		"nonsense", "server nonsense", "server show", "server show a b", "server list --nonsense", "server create web", "image create x --file y",
		"node init extra", "node join", "flavor create x --ram many", "server list extra", "keypair create x",
	} {
		_, _, err := c.run(strings.Fields(line)...)
		if exitCode(err) != exitUsage || !strings.Contains(err.Error(), "--help`") {
			t.Errorf("kilonova %s: exit code %d, %v", line, exitCode(err), err)
		}
	}
	for line, want := range map[string]string{
		"server show":              "SERVER is missing: kilonova server show SERVER",
		"image save --file x":      "IMAGE is missing",
		"server delete":            "SERVER is missing",
		"node join --token kn1.x":  "NODE[:PORT] is missing",
		"node token delete":        "ID is missing",
		"keypair create":           "NAME is missing",
		"server show a b":          `"b" is one argument too many`,
		"server list extra":        `kilonova server list takes no arguments, and "extra" is one`,
		"node token create second": `takes no arguments, and "second" is one`,
	} {
		c.fails(want, "%s", line)
	}
	c.fails("did you mean start, stop?", "server stat")
	if _, _, err := c.run("server", "list", "-o", "xml"); exitCode(err) != exitUsage {
		t.Errorf("an unknown output: %v", err)
	}
	if out := c.must("server"); !strings.Contains(out, "console-log") {
		t.Errorf("a group shows no help: %s", out)
	}
}

var update = flag.Bool("update", false, "write the golden files anew")

// TestHelp_IsWhatItWas compares every help text with testdata/help.txt, so that a change is seen by whoever reviews it.
// Each command has a sentence, and each flag, too.
func TestHelp_IsWhatItWas(t *testing.T) {
	root := newRootCommand()
	var all bytes.Buffer
	eachCommand(root, func(cmd *cobra.Command) {
		if cmd.Short == "" {
			t.Errorf("%s has no short description", cmd.CommandPath())
		}
		fmt.Fprintf(&all, "$ %s --help\n", cmd.CommandPath())
		cmd.SetOut(&all)
		if err := cmd.Help(); err != nil {
			t.Fatal(err)
		}
		all.WriteString("\n")
	})
	const golden = "testdata/help.txt"
	if *update {
		if err := os.WriteFile(golden, all.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(all.Bytes(), want) {
		t.Error("the help texts changed: look at them (go test -run Help -update . ; git diff testdata/help.txt)")
	}
}

// TestCompletion_OfEveryShell makes the scripts that complete commands.
func TestCompletion_OfEveryShell(t *testing.T) {
	c := &cli{t: t}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if out := c.must("completion %s", shell); !strings.Contains(out, "kilonova") {
			t.Errorf("%s: %.80s", shell, out)
		}
	}
	if out, _, err := c.run("__complete", "server", "list", "--output", ""); err != nil || !strings.Contains(out, "json") {
		t.Errorf("completion: %s %v", out, err)
	}
}

// TestCompletion_OfNames presses TAB where names of things stand. Those that there are appear, once; files never do, and a cloud that cannot
// be reached gives none.
func TestCompletion_OfNames(t *testing.T) {
	c := startNode(t)
	c.furnish()
	c.must("server create web-1 --image debian --flavor small --network lan --wait")
	c.must("server create web-2 --image debian --flavor small --network lan --wait")
	c.must("node token create")
	complete := func(args ...string) string {
		t.Helper()
		out, _, err := c.run(append([]string{"__complete"}, args...)...)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Fields(out)
		if last := lines[len(lines)-1]; last != ":4" { // cobra's ShellCompDirectiveNoFileComp
			t.Errorf("%v: directive %s", args, last)
		}
		return strings.Join(lines[:len(lines)-1], " ")
	}
	for _, x := range []struct{ line, want string }{
		{"server show |", "web-1 web-2"}, {"server show web-1 |", ""}, {"server delete web-1 |", "web-2"}, {"server stop web-|", "web-1 web-2"},
		{"server stop x|", ""}, {"image show |", "debian"}, {"flavor delete sm|", "small"}, {"network show |", "lan"}, {"subnet delete |", "lan"},
		{"keypair delete |", ""}, {"server create web --image |", "debian"}, {"server create web --flavor |", "small"},
		{"server create web --network |", "lan"}, {"subnet create x --network |", "lan"}, {"server list |", ""},
		{"node show |", "n1"}, {"node drain n|", "n1"},
	} {
		line, _ := strings.CutSuffix(x.line, "|")
		args := strings.Split(line, " ")
		if got := complete(args...); got != x.want {
			t.Errorf("%s gives %q instead of %q", x.line, got, x.want)
		}
	}
	if got := complete("node", "token", "delete", ""); len(got) < 8 {
		t.Errorf("tokens: %q", got)
	}
	t.Setenv("KILONOVA_DATA_DIR", t.TempDir())
	for _, args := range [][]string{{"server", "show", ""}, {"node", "show", ""}} {
		if out, _, err := c.run(append([]string{"__complete"}, args...)...); err != nil || strings.TrimSpace(out) != ":1" {
			t.Errorf("%v without a node: %q, %v", args, out, err)
		}
	}
}

// TestOffered_KeepsStrangeNamesFromTheShell: names are anybody's, and each line is a word to the shell.
func TestOffered_KeepsStrangeNamesFromTheShell(t *testing.T) {
	got := offered([]string{"b", "a", "a", "", "evil\nname", "tab\tname", "a b", "c"}, "")
	if !slices.Equal(got, []string{"a", "a b", "b", "c"}) {
		t.Errorf("offered %q", got)
	}
	if got := offered([]string{"web", "db"}, "w"); !slices.Equal(got, []string{"web"}) {
		t.Errorf("offered %q", got)
	}
}
