package main

import (
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/node"
)

// parsed gives the configuration that flags, variables and a file make together. file is the text of the file, "" for
// none; env holds pairs of names and values.
func parsed(t *testing.T, file string, env []string, args ...string) (node.Config, error) {
	t.Helper()
	for i := 0; i+1 < len(env); i += 2 {
		t.Setenv(env[i], env[i+1])
	}
	if file != "" {
		args = append(args, "--config", writeTemp(t, "config.yaml", file))
	} else if os.Getenv("KILONOVA_CONFIG") == "" {
		args = append(args, "--config", os.DevNull)
	}
	var s settings
	cmd := &cobra.Command{Use: "run", RunE: func(*cobra.Command, []string) error { return nil }}
	s.addFlags(cmd)
	if err := cmd.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	return s.config(cmd)
}

func writeTemp(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestSettings_FlagBeforeVariableBeforeFile sets one thing in each of the three places, then in fewer of them.
func TestSettings_FlagBeforeVariableBeforeFile(t *testing.T) {
	const file = "zone: from-file\nname: file-name\ntoken-life: 2h\n"
	for _, x := range []struct {
		story, file, env string
		args             []string
		want             string
	}{
		{"nothing", "", "", nil, node.DefaultZone},
		{"the file", file, "", nil, "from-file"},
		{"a variable over the file", file, "from-env", nil, "from-env"},
		{"a flag over both", file, "from-env", []string{"--zone", "from-flag"}, "from-flag"},
		{"a flag over the file", file, "", []string{"--zone", "from-flag"}, "from-flag"},
		{"a flag that says the default", file, "from-env", []string{"--zone", node.DefaultZone}, node.DefaultZone},
		{"an empty variable is none", file, "", nil, "from-file"},
	} {
		t.Run(x.story, func(t *testing.T) {
			cfg, err := parsed(t, x.file, []string{"KILONOVA_ZONE", x.env}, x.args...)
			if err != nil || cfg.Zone != x.want {
				t.Errorf("zone %q, %v; want %q", cfg.Zone, err, x.want)
			}
			if x.file != "" && (cfg.Name != "file-name" || cfg.TokenLife != 2*time.Hour) {
				t.Errorf("the rest of the file was not read: %+v", cfg)
			}
		})
	}
}

// TestSettings_EachKindOfValue sets flags of every type from the file and from variables.
func TestSettings_EachKindOfValue(t *testing.T) {
	cfg, err := parsed(t, `
bind: 192.0.2.11
data-dir: /srv/kilonova
driver: sim
voter: never
api-tls: off
sim-vcpus: 8
sim-memory-mib: 1024
sim-boot-delay: 3s
cpu-ratio: 1.5
bridge: [lan=br0, wan=br1]
log-level:
`, []string{"KILONOVA_SIM_DISK_GIB", "7", "KILONOVA_RESERVED_MEMORY_MIB", "9"})
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Bind != "192.0.2.11" || cfg.DataDir != "/srv/kilonova" || cfg.Voter != cluster.VoterNever || cfg.APITLS ||
		cfg.Hypervisor.Driver != "sim" || cfg.Capacity.CPU != 1.5 || cfg.Capacity.ReservedMemoryMiB != 9 {
		t.Errorf("config %+v", cfg)
	}
	if want := (node.SimHost{VCPUs: 8, MemoryMiB: 1024, DiskGiB: 7, BootDelay: 3 * time.Second}); cfg.Hypervisor.Sim != want {
		t.Errorf("simulated host %+v", cfg.Hypervisor.Sim)
	}
	if want := map[string]string{"lan": "br0", "wan": "br1"}; !reflect.DeepEqual(cfg.Bridges, want) {
		t.Errorf("bridges %v", cfg.Bridges)
	}
}

// TestSettings_BridgesInEverySpelling gives the same two bridges in each way there is.
func TestSettings_BridgesInEverySpelling(t *testing.T) {
	want := map[string]string{"lan": "br0", "wan": "br1"}
	for story, x := range map[string]struct {
		file string
		env  []string
		args []string
		open []string
	}{
		"flags":      {args: []string{"--bridge", "lan=br0", "--bridge", "wan=br1"}},
		"a variable": {env: []string{"KILONOVA_BRIDGE", "lan=br0,wan=br1"}},
		"a list":     {file: "bridge:\n  - lan=br0\n  - wan=br1\n"},
		"a map":      {file: "bridge:\n  lan: br0\n  wan: br1\n"},
		"twice":      {args: []string{"--bridge", "lan=br0", "--bridge", "wan=br1", "--bridge", "lan=br0"}},

		"flags, one open":       {args: []string{"--bridge", "wan=br1,open", "--bridge", "lan=br0"}, open: []string{"wan"}},
		"a variable, one open":  {env: []string{"KILONOVA_BRIDGE", "lan=br0,open,wan=br1"}, open: []string{"lan"}},
		"a variable, both open": {env: []string{"KILONOVA_BRIDGE", "wan=br1,open,lan=br0,open"}, open: []string{"lan", "wan"}},
		"a list, one open":      {file: "bridge:\n  - lan=br0,open\n  - wan=br1\n", open: []string{"lan"}},
		"a map, one open":       {file: "bridge:\n  lan: br0\n  wan: br1,open\n", open: []string{"wan"}},
		"open, and twice":       {args: []string{"--bridge", "lan=br0,open", "--bridge", "wan=br1", "--bridge", "lan=br0,open"}, open: []string{"lan"}},
	} {
		t.Run(story, func(t *testing.T) {
			cfg, err := parsed(t, x.file, x.env, x.args...)
			if err != nil || !reflect.DeepEqual(cfg.Bridges, want) || !slices.Equal(cfg.Open, x.open) {
				t.Errorf("bridges %v, open %v, %v", cfg.Bridges, cfg.Open, err)
			}
		})
	}
}

// TestSettings_Refusals gives what nobody can have meant. The message names the setting and the place.
func TestSettings_Refusals(t *testing.T) {
	for story, x := range map[string]struct {
		file string
		env  []string
		args []string
		want string
	}{
		"an unknown setting":           {file: "zone: a\nbrigde: lan=br0\n", want: `configuration file: there is no setting "brigde"`},
		"two unknown settings":         {file: "a: 1\nb: 2\n", want: `there is no setting "b"`},
		"the file naming itself":       {file: "config: /x\n", want: `there is no setting "config"`},
		"a bad number in the file":     {file: "sim-vcpus: many\n", want: "configuration file: sim-vcpus"},
		"a bad number in a variable":   {env: []string{"KILONOVA_SIM_VCPUS", "many"}, want: "KILONOVA_SIM_VCPUS: sim-vcpus"},
		"a list for one value":         {file: "zone: [a, b]\n", want: "zone takes one value, not a list"},
		"a map for one value":          {file: "zone: {a: b}\n", want: "zone takes one value, not a map"},
		"a file that is no map":        {file: "- zone\n", want: "read the configuration file"},
		"a file that is no YAML":       {file: "zone: [\n", want: "read the configuration file"},
		"a bridge without a name":      {args: []string{"--bridge", "lan="}, want: `--bridge "lan=" is not NETWORK=BRIDGE or NETWORK=BRIDGE,open, e.g. lan=br0`},
		"a bridge without a network":   {args: []string{"--bridge", "br0"}, want: "is not NETWORK=BRIDGE"},
		"a bridge of too many letters": {args: []string{"--bridge", "lan=abcdefghijklmnop"}, want: "is not NETWORK=BRIDGE"},
		"a bridge with a path":         {args: []string{"--bridge", "lan=../br0"}, want: "is not NETWORK=BRIDGE"},
		"two bridges for a network":    {args: []string{"--bridge", "lan=br0", "--bridge", "lan=br1"}, want: "says two things of lan: br0 and br1"},
		"a bridge open and not":        {args: []string{"--bridge", "lan=br0", "--bridge", "lan=br0,open"}, want: "says two things of lan"},
		"a bridge that is ajar":        {args: []string{"--bridge", "lan=br0,ajar"}, want: `"lan=br0,ajar" is not NETWORK=BRIDGE`},
		"a half switch":                {args: []string{"--api-tls", "maybe"}, want: `--api-tls "maybe" is not on or off`},
		"a level of no log":            {args: []string{"--log-level", "loud"}, want: "--log-level"},
	} {
		t.Run(story, func(t *testing.T) {
			_, err := parsed(t, x.file, x.env, x.args...)
			if err == nil || !strings.Contains(err.Error(), x.want) {
				t.Errorf("error %v, want one with %q", err, x.want)
			}
		})
	}
}

// TestSettings_GivenToInitHoldForRun enrols with flags and runs without them, as systemd does. A flag, a variable and the file go before
// what is remembered; enrolling again with another bridge keeps the rest.
func TestSettings_GivenToInitHoldForRun(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "node.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	enrol := func(args ...string) {
		t.Helper()
		var s settings
		cmd := &cobra.Command{Use: "init"}
		s.addFlags(cmd)
		t.Setenv("KILONOVA_CONFIG", os.DevNull)
		if err := cmd.ParseFlags(append(args, "--data-dir", dir, "--bind", "192.0.2.1")); err != nil {
			t.Fatal(err)
		}
		flags := given(cmd.Flags())
		if _, err := s.config(cmd); err != nil {
			t.Fatal(err)
		}
		if err := remember(cmd.Flags(), flags); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(what, file string, args []string, zone string, bridges map[string]string) {
		t.Helper()
		cfg, err := parsed(t, file, nil, append(args, "--data-dir", dir)...)
		if err != nil || cfg.Zone != zone || !maps.Equal(cfg.Bridges, bridges) || cfg.Bind != "" {
			t.Errorf("%s: zone %q, bridges %v, bind %q, %v", what, cfg.Zone, cfg.Bridges, cfg.Bind, err)
		}
	}
	two := map[string]string{"lan": "br0", "wan": "br1"}
	enrol("--bridge", "lan=br0", "--bridge", "wan=br1", "--zone", "a")
	expect("remembered", "", nil, "a", two)
	expect("a flag", "", []string{"--zone", "b"}, "b", two)
	expect("the file", "zone: c\nbridge: lan=br9\n", nil, "c", map[string]string{"lan": "br9"})
	enrol("--bridge", "lan=br7")
	expect("enrolled again", "", nil, "a", map[string]string{"lan": "br7"})
	enrol()
	expect("enrolled again without flags", "", nil, "a", map[string]string{"lan": "br7"})
	if info, err := os.Stat(node.RememberedSettings(dir)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	t.Setenv("KILONOVA_ZONE", "d")
	expect("a variable", "zone: c\n", nil, "d", map[string]string{"lan": "br7"})
}

// TestSettings_TheBackupIsNamedOnce makes a cluster of a backup. "node run" afterwards has no such setting, and does not mind that earlier builds
// remembered it.
func TestSettings_TheBackupIsNamedOnce(t *testing.T) {
	dir := t.TempDir()
	cmd := newInitCommand()
	if err := cmd.ParseFlags([]string{"--restore", "/root/cloud.backup", "--zone", "a", "--data-dir", dir, "--bind", "192.0.2.1"}); err != nil {
		t.Fatal(err)
	}
	if flags := given(cmd.Flags()); !slices.Equal(flags, []string{"zone"}) {
		t.Errorf("remembered are %v", flags)
	}
	if err := os.WriteFile(node.RememberedSettings(dir), []byte("restore: /root/cloud.backup\nzone: a\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if cfg, err := parsed(t, "", nil, "--data-dir", dir); err != nil || cfg.Zone != "a" {
		t.Errorf("zone %q, %v", cfg.Zone, err)
	}
}

// TestSettings_FileNamedToInitHoldsForRun names a file by a relative path when the node is enrolled. It is the file of "node run", too,
// called from elsewhere and without being named; another one that is named goes before it, and without the file nothing is guessed.
func TestSettings_FileNamedToInitHoldsForRun(t *testing.T) {
	dir, here := t.TempDir(), t.TempDir()
	t.Setenv("KILONOVA_CONFIG", "")
	for path, text := range map[string]string{filepath.Join(dir, "node.json"): "{}", filepath.Join(here, "mine.yaml"): "zone: a\n", filepath.Join(here, "other.yaml"): "zone: b\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	call := func(args ...string) (node.Config, error) {
		t.Helper()
		var s settings
		cmd := &cobra.Command{Use: "run"}
		s.addFlags(cmd)
		if err := cmd.ParseFlags(append(args, "--data-dir", dir)); err != nil {
			t.Fatal(err)
		}
		flags := given(cmd.Flags())
		cfg, err := s.config(cmd)
		if err == nil && len(args) > 0 {
			err = remember(cmd.Flags(), flags)
		}
		return cfg, err
	}
	t.Chdir(here)
	if cfg, err := call("--config", "mine.yaml"); err != nil || cfg.Zone != "a" {
		t.Fatalf("enrolled in zone %q, %v", cfg.Zone, err)
	}
	t.Chdir(dir)
	if cfg, err := call(); err != nil || cfg.Zone != "a" {
		t.Errorf("it runs in zone %q, %v", cfg.Zone, err)
	}
	t.Setenv("KILONOVA_CONFIG", filepath.Join(here, "other.yaml"))
	if cfg, err := call(); err != nil || cfg.Zone != "b" {
		t.Errorf("with another file it runs in zone %q, %v", cfg.Zone, err)
	}
	t.Setenv("KILONOVA_CONFIG", "")
	if err := os.Remove(filepath.Join(here, "mine.yaml")); err != nil {
		t.Fatal(err)
	}
	if _, err := call(); err == nil || !strings.Contains(err.Error(), "mine.yaml") {
		t.Errorf("without its file: %v", err)
	}
}

// TestSettings_NamedFileHasToExist names a file that is not there. Only the default one may be missing.
func TestSettings_NamedFileHasToExist(t *testing.T) {
	t.Setenv("KILONOVA_CONFIG", filepath.Join(t.TempDir(), "nope.yaml"))
	if _, err := parsed(t, "", nil); err == nil || !strings.Contains(err.Error(), "nope.yaml") {
		t.Errorf("error %v", err)
	}
}

// TestDataDir_IsFoundLikeEverySetting looks for the local node's directory as the commands do that ask it. What else the
// file holds is none of their business.
func TestDataDir_IsFoundLikeEverySetting(t *testing.T) {
	file := writeTemp(t, "config.yaml", "data-dir: /from/file\nbridge: lan=br0\nsomething: else\n")
	for _, x := range []struct {
		story, config, env string
		args               []string
		want               string
	}{
		{"the default", os.DevNull, "", nil, node.DefaultDataDir},
		{"the file", file, "", nil, "/from/file"},
		{"a variable", file, "/from/env", nil, "/from/env"},
		{"a flag", file, "/from/env", []string{"--data-dir", "/from/flag"}, "/from/flag"},
	} {
		t.Run(x.story, func(t *testing.T) {
			t.Setenv("KILONOVA_CONFIG", x.config)
			t.Setenv("KILONOVA_DATA_DIR", x.env)
			cmd := &cobra.Command{Use: "list"}
			addDataDir(cmd.Flags(), new(string))
			if err := cmd.ParseFlags(x.args); err != nil {
				t.Fatal(err)
			}
			if got, err := dataDir(cmd.Flags()); err != nil || got != x.want {
				t.Errorf("%q, %v; want %q", got, err, x.want)
			}
		})
	}
	t.Setenv("KILONOVA_CONFIG", "/no/such/file")
	cmd := &cobra.Command{Use: "list"}
	addDataDir(cmd.Flags(), new(string))
	if _, err := dataDir(cmd.Flags()); err == nil {
		t.Error("a named file that is not there is no error")
	}
}

// FuzzConfigFile reads any file as the configuration. It is read or refused, and never more than that.
func FuzzConfigFile(f *testing.F) {
	for _, seed := range []string{"", "zone: a\n", "bridge: [lan=br0]\n", "bridge: {lan: br0}\n", "? [a]\n: b\n", "a: &x [*x]\n", "\x00", "zone: !!binary x\n", "- 1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		cfg, err := parsed(t, text+"\n", nil)
		if err == nil && cfg.Zone == "" && !strings.Contains(text, "zone") {
			t.Errorf("the zone vanished: %q", text)
		}
	})
}
