package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"gopkg.in/yaml.v3"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/node"
)

// settings are the flags of the commands that run a node. Each has the same name as an environment variable
// (KILONOVA_DATA_DIR) and in the configuration file (data-dir); a flag goes before a variable, a variable before the file. What was
// given as a flag to "node init" or "node join" is remembered in the data directory and goes after all three, so that "node run" runs
// the same node.
type settings struct {
	cfg        node.Config
	configFile string
	voter      string
	apiTLS     string
	logLevel   string
	bridges    []string
}

const envPrefix = "KILONOVA_"

// addFlags gives a command the settings of a node.
func (s *settings) addFlags(cmd *cobra.Command) {
	s.cfg = node.DefaultConfig()
	s.cfg.Version = version
	f := cmd.Flags()
	f.StringVar(&s.configFile, "config", node.DefaultConfigFile, "configuration file (YAML) with the same names as these flags")
	f.StringVar(&s.cfg.Bind, "bind", "", "IP address of this host that peers and clients reach it by")
	addDataDir(f, &s.cfg.DataDir)
	f.StringVar(&s.cfg.Name, "name", "", "name of this host in the cluster (default: its host name)")
	f.StringVar(&s.cfg.Zone, "zone", s.cfg.Zone, "availability zone")
	f.StringVar(&s.voter, "voter", "auto", "part in the agreement: auto, never or prefer")
	f.BoolVar(&s.cfg.Witness, "witness", false, "a node without a hypervisor, which votes: the third of two")
	f.StringVar(&s.apiTLS, "api-tls", "on", "HTTPS on the API: on, or off for loopback addresses")
	f.DurationVar(&s.cfg.Lifecycle.ResizeConfirm, "resize-confirm", 0, "how long after a resize or a migration it is confirmed by itself; 0: never")
	f.DurationVar(&s.cfg.Lifecycle.DeferredDelete, "deferred-delete", 0, "how long a deleted server may be restored; 0: not at all")
	f.DurationVar(&s.cfg.TokenLife, "token-life", s.cfg.TokenLife, "how long API tokens last")
	f.Uint64Var(&s.cfg.SnapshotEvery, "snapshot-entries", 0, "entries of the log from one snapshot of the state to the next (default 8192)")
	f.StringVar(&s.logLevel, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&s.cfg.SharedDir, "shared-dir", "", "directory that other nodes have, too (NFS, CephFS), for volumes that every one of them can use")
	f.StringArrayVar(&s.bridges, "bridge", nil, "provider network and its Linux bridge, e.g. lan=br0; lan=br0,open lets members make networks on it; may be given more than once")
	h := &s.cfg.Hypervisor
	f.StringVar(&h.Driver, "driver", h.Driver, "hypervisor driver: libvirt, or sim for a simulated one")
	f.StringVar(&h.VirtType, "virt-type", h.VirtType, "auto, kvm or qemu; auto proves KVM before it trusts it")
	f.StringVar(&h.LibvirtSocket, "libvirt-socket", h.LibvirtSocket, "UNIX socket of the local libvirtd")
	f.IntVar(&h.Sim.VCPUs, "sim-vcpus", h.Sim.VCPUs, "processors of a simulated host")
	f.Int64Var(&h.Sim.MemoryMiB, "sim-memory-mib", h.Sim.MemoryMiB, "memory of a simulated host")
	f.Int64Var(&h.Sim.DiskGiB, "sim-disk-gib", h.Sim.DiskGiB, "disk of a simulated host")
	f.DurationVar(&h.Sim.BootDelay, "sim-boot-delay", h.Sim.BootDelay, "how long a simulated guest boots")
	live := &s.cfg.Live
	f.BoolVar(&live.AutoConverge, "live-migration-auto-converge", live.AutoConverge, "slow a guest down that changes its memory faster than it is sent (only with KVM)")
	f.BoolVar(&live.PostCopy, "live-migration-post-copy", false, "let a forced live migration go on at its destination before all memory is there")
	f.Int64Var(&live.MiBPerSecond, "live-migration-mibps", 0, "bandwidth of each live migration; 0: no bound")
	f.DurationVar(&live.MaxDowntime, "live-migration-downtime", 0, "how long a guest may stand still in a live migration (default: the hypervisor's)")
	r := &s.cfg.Capacity
	f.Float64Var(&r.CPU, "cpu-ratio", r.CPU, "virtual CPUs promised for each real one")
	f.Float64Var(&r.Memory, "memory-ratio", r.Memory, "memory promised for what is there")
	f.Float64Var(&r.Disk, "disk-ratio", r.Disk, "disk promised for what is there")
	f.Int64Var(&r.ReservedMemoryMiB, "reserved-memory-mib", r.ReservedMemoryMiB, "memory kept for the host")
	f.Int64Var(&r.ReservedDiskGiB, "reserved-disk-gib", r.ReservedDiskGiB, "disk kept for the host")
}

func addDataDir(f *pflag.FlagSet, into *string) {
	f.StringVar(into, "data-dir", node.DefaultDataDir, "where the node keeps everything")
}

// config reads the environment and the file, and gives the node's configuration.
func (s *settings) config(cmd *cobra.Command) (node.Config, error) {
	if err := fill(cmd.Flags()); err != nil {
		return s.cfg, err
	}
	s.cfg.Voter = cluster.VoterPreference(s.voter)
	switch s.apiTLS {
	case "on", "off":
		s.cfg.APITLS = s.apiTLS == "on"
	default:
		return s.cfg, fmt.Errorf("--api-tls %q is not on or off", s.apiTLS)
	}
	var err error
	if s.cfg.Bridges, s.cfg.Open, err = parseBridges(s.bridges); err != nil {
		return s.cfg, err
	}
	if s.cfg.Log, err = newLogger(s.logLevel); err != nil {
		return s.cfg, fmt.Errorf("--log-level: %w", err)
	}
	return s.cfg, nil
}

// openBridge is what stands behind a bridge that members may make networks on.
const openBridge = "open"

// parseBridges reads LABEL=BRIDGE[,open] pairs: the bridges, and the labels that are open.
func parseBridges(pairs []string) (bridges map[string]string, open []string, err error) {
	for _, pair := range pairs {
		label, rest, ok := strings.Cut(pair, "=")
		bridge, option, optioned := strings.Cut(rest, ",")
		if !ok || label == "" || bridge == "" || len(bridge) > 15 || strings.ContainsAny(bridge, "/ ") || optioned && option != openBridge {
			return nil, nil, fmt.Errorf("--bridge %q is not NETWORK=BRIDGE or NETWORK=BRIDGE,open, e.g. lan=br0", pair)
		}
		if bridges == nil {
			bridges = map[string]string{}
		}
		if old, twice := bridges[label]; twice && (old != bridge || optioned != slices.Contains(open, label)) {
			return nil, nil, fmt.Errorf("--bridge says two things of %s: %s and %s", label, old, rest)
		}
		bridges[label] = bridge
		if optioned && !slices.Contains(open, label) {
			open = append(open, label)
		}
	}
	slices.Sort(open)
	return bridges, open, nil
}

// configSetting names the configuration file. It is remembered, and only a flag or a variable names another.
const configSetting = "config"

// notSettings are flags that neither a variable nor the file sets.
var notSettings = []string{"config", "help", "enrol-only", "restore", "moved-from"}

// notRemembered are flags that say whom this one call is for, or that the node's identity holds.
var notRemembered = []string{"data-dir", "bind", "name", "token", "help", "enrol-only", "restore"}

// remember keeps the settings that were given as flags, beside those of earlier calls.
func remember(flags *pflag.FlagSet, given []string) error {
	if len(given) == 0 {
		return nil
	}
	dir := flags.Lookup("data-dir").Value.String()
	kept, err := readConfigFile(node.RememberedSettings(dir), false)
	if err != nil {
		return err
	}
	if kept == nil {
		kept = map[string]any{}
	}
	for _, name := range given {
		f := flags.Lookup(name)
		switch many, ok := f.Value.(pflag.SliceValue); {
		case ok:
			kept[name] = many.GetSlice()
		case name == configSetting: // the next command is called from elsewhere
			if kept[name], err = filepath.Abs(f.Value.String()); err != nil {
				return fmt.Errorf("remember the configuration file: %w", err)
			}
		default:
			kept[name] = f.Value.String()
		}
	}
	b, err := yaml.Marshal(kept)
	if err != nil {
		return fmt.Errorf("remember the settings: %w", err)
	}
	return node.RememberSettings(dir, b)
}

// given are the settings among the flags that stand on the command line. Ask before fill, which sets others.
func given(flags *pflag.FlagSet) []string {
	var names []string
	flags.Visit(func(f *pflag.Flag) {
		if !slices.Contains(notRemembered, f.Name) {
			names = append(names, f.Name)
		}
	})
	return names
}

// fill sets the flags that were not given: from the environment, then from the configuration file, then from what is remembered.
func fill(flags *pflag.FlagSet) error {
	path, named := configPath(flags)
	if !named {
		remembered, err := rememberedConfig(flags)
		if err != nil {
			return err
		}
		if remembered != "" {
			path, named = remembered, true
		}
	}
	file, err := readConfigFile(path, named)
	if err != nil {
		return err
	}
	if err := fillFrom(flags, file, "configuration file", true); err != nil {
		return err
	}
	kept, err := readConfigFile(node.RememberedSettings(flags.Lookup("data-dir").Value.String()), false)
	if errors.Is(err, os.ErrPermission) {
		return nil // who may not read it may not run the node either, and is told so there
	}
	if err != nil {
		return err
	}
	for _, name := range append(notRemembered, configSetting) { // earlier builds remembered some of them
		delete(kept, name)
	}
	return fillFrom(flags, kept, "remembered settings", false)
}

// rememberedConfig is the configuration file that was named when this machine was enrolled; "": none, or it is not for us to read.
func rememberedConfig(flags *pflag.FlagSet) (string, error) {
	dir, err := dataDir(flags)
	if err != nil {
		return "", err
	}
	kept, err := readConfigFile(node.RememberedSettings(dir), false)
	if errors.Is(err, os.ErrPermission) {
		return "", nil
	}
	path, _ := kept[configSetting].(string)
	return path, err
}

// fillFrom sets the flags that were not set yet, from the environment if that is asked for, and then from a file.
func fillFrom(flags *pflag.FlagSet, file map[string]any, source string, env bool) error {
	var errs []error
	flags.VisitAll(func(f *pflag.Flag) {
		if slices.Contains(notSettings, f.Name) {
			return
		}
		values, from := []string(nil), ""
		if env {
			values, from = fromEnv(f)
		}
		if values == nil {
			var err error
			if values, err = fromFile(f, file); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", source, err))
			}
			from = source
		}
		delete(file, f.Name)
		if f.Changed {
			return
		}
		for _, v := range values {
			if err := flags.Set(f.Name, v); err != nil {
				errs = append(errs, fmt.Errorf("%s: %s: %w", from, f.Name, err))
			}
		}
	})
	for _, name := range slices.Sorted(maps.Keys(file)) {
		errs = append(errs, fmt.Errorf("%s: there is no setting %q", source, name))
	}
	return errors.Join(errs...)
}

// fromEnv is what the environment says about a flag, and under which name; nil when it says nothing.
func fromEnv(f *pflag.Flag) (values []string, name string) {
	name = envPrefix + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
	v := os.Getenv(name)
	switch {
	case v == "":
		return nil, name
	case takesMany(f):
		return splitPairs(v), name
	}
	return []string{v}, name
}

// splitPairs takes "lan=br0,open,dmz=br1" apart: what has no "=" belongs to the pair before it.
func splitPairs(text string) []string {
	var pairs []string
	for _, part := range strings.Split(text, ",") {
		if len(pairs) > 0 && !strings.Contains(part, "=") {
			pairs[len(pairs)-1] += "," + part
			continue
		}
		pairs = append(pairs, part)
	}
	return pairs
}

// fromFile is what a file of settings says about a flag; nil when it says nothing.
func fromFile(f *pflag.Flag, file map[string]any) (values []string, err error) {
	switch v := file[f.Name].(type) {
	case nil: // it is absent, or has no value
	case []any:
		if !takesMany(f) {
			return nil, fmt.Errorf("%s takes one value, not a list", f.Name)
		}
		for _, item := range v {
			values = append(values, fmt.Sprint(item))
		}
	case map[string]any: // bridge: {lan: br0}
		if !takesMany(f) {
			return nil, fmt.Errorf("%s takes one value, not a map", f.Name)
		}
		for _, k := range slices.Sorted(maps.Keys(v)) {
			values = append(values, fmt.Sprintf("%s=%v", k, v[k]))
		}
	default:
		values = []string{fmt.Sprint(v)}
	}
	return values, nil
}

func takesMany(f *pflag.Flag) bool { return f.Value.Type() == "stringArray" }

// dataDir is the data directory of a command that does not run a node, but asks the one that runs here.
func dataDir(flags *pflag.FlagSet) (string, error) {
	f := flags.Lookup("data-dir")
	if f.Changed {
		return f.Value.String(), nil
	}
	if os.Getenv(envPrefix+"DATA_DIR") == "" {
		if _, named := configPath(flags); !named && !readable(node.DefaultConfigFile) {
			return f.Value.String(), nil // not an administrator, who will be told about the directory itself
		}
	}
	file, err := readConfigFile(configPath(flags))
	if err != nil {
		return "", err
	}
	values, _ := fromEnv(f)
	if values == nil {
		if values, err = fromFile(f, file); err != nil {
			return "", fmt.Errorf("configuration file: %w", err)
		}
	}
	if len(values) == 0 {
		return f.Value.String(), nil
	}
	return values[0], nil
}

func readable(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	f.Close()
	return true
}

// configPath is the configuration file, and whether the user named it. The default one need not exist.
func configPath(flags *pflag.FlagSet) (path string, named bool) {
	if f := flags.Lookup("config"); f != nil && f.Changed {
		return f.Value.String(), true
	}
	if v := os.Getenv(envPrefix + "CONFIG"); v != "" {
		return v, true
	}
	return node.DefaultConfigFile, false
}

// maxConfigFile is more than any configuration has.
const maxConfigFile = 1 << 20

func readConfigFile(path string, named bool) (map[string]any, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) && !named {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the configuration file: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxConfigFile))
	if err != nil {
		return nil, fmt.Errorf("read the configuration file: %w", err)
	}
	var settings map[string]any
	if err := yaml.Unmarshal(b, &settings); err != nil {
		return nil, fmt.Errorf("read the configuration file %s: %w", path, err)
	}
	return settings, nil
}
