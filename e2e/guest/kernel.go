package guest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// busyboxPath is the static busybox of Debian's busybox-static.
const busyboxPath = "/bin/busybox"

// wantedModules are loaded by the small guest where its kernel has them apart: buses, disks, network cards,
// config drives of every kind, and the power button. Drivers of buses come before those of devices.
var wantedModules = []string{
	"virtio_pci", "virtio_mmio", "virtio_blk", "virtio_scsi", "virtio_net", "ext4", "isofs", "vfat",
	"nls_cp437", "nls_ascii", "nls_utf8", "nls_iso8859-1",
	"ata_piix", "ahci", "sd_mod", "sr_mod", "e1000", "button", "evdev", "virtio-rng", "virtio_balloon", "virtio_console",
}

// kernel is a Debian cloud kernel as it is installed on this machine.
type kernel struct {
	release string   // such as 6.1.0-56-cloud-amd64
	image   string   // the bootable file
	modules string   // the directory of its modules
	load    []string // modules to load, in order, as paths below modules
}

// errNoKernel says which package brings one.
var errNoKernel = errors.New("find kernel: no cloud kernel is installed: apt-get install linux-image-cloud-amd64, or make deps")

// findKernel returns the newest cloud kernel below the two directories.
func findKernel(boot, modules string) (kernel, error) {
	images, err := filepath.Glob(filepath.Join(boot, "vmlinuz-*-cloud-amd64"))
	if err != nil {
		return kernel{}, fmt.Errorf("find kernel: %w", err)
	}
	var best kernel
	for _, image := range images {
		release := strings.TrimPrefix(filepath.Base(image), "vmlinuz-")
		dir := filepath.Join(modules, release)
		if _, err := os.Stat(filepath.Join(dir, "modules.dep")); err != nil {
			continue
		}
		if best.release == "" || compareReleases(release, best.release) > 0 {
			best = kernel{release: release, image: image, modules: dir}
		}
	}
	if best.release == "" {
		return kernel{}, errNoKernel
	}
	dep, err := os.ReadFile(filepath.Join(best.modules, "modules.dep"))
	if err != nil {
		return kernel{}, fmt.Errorf("find kernel: %w", err)
	}
	best.load = loadOrder(dep, wantedModules)
	return best, nil
}

// compareReleases orders releases by their numbers, so that 6.1.0-9 comes before 6.1.0-56.
func compareReleases(a, b string) int {
	return slices.Compare(numbers(a), numbers(b))
}

func numbers(s string) []int {
	var all []int
	in := false
	for _, r := range s {
		digit := r >= '0' && r <= '9'
		if digit && !in {
			all = append(all, 0)
		}
		if digit {
			all[len(all)-1] = all[len(all)-1]*10 + int(r-'0')
		}
		in = digit
	}
	return all
}

// loadOrder reads a modules.dep and returns the files of the wanted modules and of what they depend on, each
// after its own dependencies. Modules that are not there are built in or of no use to this kernel.
func loadOrder(dep []byte, wanted []string) []string {
	files := map[string]string{}   // by module name
	needs := map[string][]string{} // by file
	lines := bufio.NewScanner(bytes.NewReader(dep))
	lines.Buffer(nil, len(dep)+1)
	for lines.Scan() {
		file, list, ok := strings.Cut(lines.Text(), ":")
		if !ok {
			continue
		}
		files[moduleName(file)] = file
		needs[file] = strings.Fields(list)
	}
	var order []string
	seen := map[string]bool{}
	var add func(string)
	add = func(file string) {
		if seen[file] {
			return
		}
		seen[file] = true
		// depmod lists dependencies so that the last one must be loaded first.
		for _, n := range slices.Backward(needs[file]) {
			add(n)
		}
		order = append(order, file)
	}
	for _, w := range wanted {
		if file, ok := files[moduleName(w)]; ok {
			add(file)
		}
	}
	return order
}

// moduleName returns a module's name from its file: the kernel takes - and _ for the same.
func moduleName(file string) string {
	name, _, _ := strings.Cut(filepath.Base(file), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}

// inputs returns what the ramdisk is made of, for the name of the cached result.
func (k kernel) inputs() ([][]byte, error) {
	all := [][]byte{initScript, flattenScript, []byte(strings.Join(k.load, "\n"))}
	heart, err := heartSources()
	if err != nil {
		return nil, err
	}
	for _, s := range heart {
		all = append(all, s.text)
	}
	for _, path := range []string{busyboxPath, k.image} {
		info, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("find input: %w (make deps installs it)", err)
		}
		all = append(all, fmt.Appendf(nil, "%s %d %s", path, info.Size(), info.ModTime().UTC()))
	}
	return all, nil
}
