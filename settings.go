package main

import (
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"gopkg.in/yaml.v3"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/node"
)

// settings are the flags of the commands that run a node. Each has the same name as an environment variable
// (KILONOVA_DATA_DIR) and in the configuration file (data-dir); a flag goes before a variable, a variable before the file.
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
	f.StringVar(&s.apiTLS, "api-tls", "on", "HTTPS on the API: on, or off for loopback addresses")
	f.DurationVar(&s.cfg.TokenLife, "token-life", s.cfg.TokenLife, "how long API tokens last")
	f.StringVar(&s.logLevel, "log-level", "info", "debug, info, warn or error")
	f.StringArrayVar(&s.bridges, "bridge", nil, "provider network and its Linux bridge, e.g. lan=br0; may be given more than once")
	h := &s.cfg.Hypervisor
	f.StringVar(&h.Driver, "driver", h.Driver, "hypervisor driver: libvirt, or sim for a simulated one")
	f.StringVar(&h.VirtType, "virt-type", h.VirtType, "auto, kvm or qemu; auto proves KVM before it trusts it")
	f.StringVar(&h.LibvirtSocket, "libvirt-socket", h.LibvirtSocket, "UNIX socket of the local libvirtd")
	f.IntVar(&h.Sim.VCPUs, "sim-vcpus", h.Sim.VCPUs, "processors of a simulated host")
	f.Int64Var(&h.Sim.MemoryMiB, "sim-memory-mib", h.Sim.MemoryMiB, "memory of a simulated host")
	f.Int64Var(&h.Sim.DiskGiB, "sim-disk-gib", h.Sim.DiskGiB, "disk of a simulated host")
	f.DurationVar(&h.Sim.BootDelay, "sim-boot-delay", h.Sim.BootDelay, "how long a simulated guest boots")
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
	if s.cfg.Bridges, err = parseBridges(s.bridges); err != nil {
		return s.cfg, err
	}
	if s.cfg.Log, err = newLogger(s.logLevel); err != nil {
		return s.cfg, fmt.Errorf("--log-level: %w", err)
	}
	return s.cfg, nil
}

// parseBridges reads label=bridge pairs.
func parseBridges(pairs []string) (map[string]string, error) {
	var out map[string]string
	for _, pair := range pairs {
		label, bridge, ok := strings.Cut(pair, "=")
		if !ok || label == "" || bridge == "" || len(bridge) > 15 || strings.ContainsAny(bridge, "/ ") {
			return nil, fmt.Errorf("--bridge %q is not NETWORK=BRIDGE, e.g. lan=br0", pair)
		}
		if out == nil {
			out = map[string]string{}
		}
		if old, twice := out[label]; twice && old != bridge {
			return nil, fmt.Errorf("--bridge names two bridges for %s: %s and %s", label, old, bridge)
		}
		out[label] = bridge
	}
	return out, nil
}

// fill sets the flags that were not given, from the environment and then from the configuration file.
func fill(flags *pflag.FlagSet) error {
	file, err := readConfigFile(flags)
	if err != nil {
		return err
	}
	var errs []error
	flags.VisitAll(func(f *pflag.Flag) {
		values, found := file[f.Name]
		delete(file, f.Name)
		source := "configuration file"
		env := envPrefix + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if v, ok := os.LookupEnv(env); ok {
			values, found, source = split(f, v), true, env
		}
		if !found || f.Changed {
			return
		}
		for _, v := range values {
			if err := flags.Set(f.Name, v); err != nil {
				errs = append(errs, fmt.Errorf("%s: %s: %w", source, f.Name, err))
			}
		}
	})
	for _, name := range sortedKeys(file) {
		errs = append(errs, fmt.Errorf("configuration file: there is no setting %q", name))
	}
	return errors.Join(errs...)
}

// split takes a variable apart where the flag takes several values.
func split(f *pflag.Flag, v string) []string {
	if f.Value.Type() == "stringArray" {
		return strings.Split(v, ",")
	}
	return []string{v}
}

// readConfigFile reads the file that --config or KILONOVA_CONFIG names. The default one need not exist.
func readConfigFile(flags *pflag.FlagSet) (map[string][]string, error) {
	path, named := flags.Lookup("config").Value.String(), flags.Changed("config")
	if v, ok := os.LookupEnv(envPrefix + "CONFIG"); ok && !named {
		path, named = v, true
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) && !named {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the configuration file: %w", err)
	}
	var raw map[string]any
	if err := yaml.Unmarshal(b, &raw); err != nil {
		return nil, fmt.Errorf("read the configuration file %s: %w", path, err)
	}
	out := map[string][]string{}
	for name, v := range raw {
		list, many := v.([]any)
		if !many {
			list = []any{v}
		}
		for _, item := range list {
			out[name] = append(out[name], fmt.Sprint(item))
		}
	}
	return out, nil
}

func sortedKeys(m map[string][]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
