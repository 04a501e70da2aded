package libvirt

import "testing"

// The sandbox is asked for by an option of its own, whatever a name or a file is called.
func TestSandboxLine_ReadsTheOptionAlone(t *testing.T) {
	for line, want := range map[string]bool{
		"/usr/bin/qemu-system-x86_64 \\\n-name guest=a \\\n-sandbox on,obsolete=deny,spawn=deny \\\n-device x\n": true,
		"qemu-system-x86_64 -sandbox on":             true,
		"qemu-system-x86_64 -sandbox off -msg on":    false,
		"qemu-system-x86_64 -name on,-sandbox":       false,
		"qemu-system-x86_64 -sandbox":                false,
		"qemu-system-x86_64 -name only -sandbox onX": false,
		"": false,
	} {
		if got := sandboxLine(line); got != want {
			t.Errorf("%q: %t", line, got)
		}
	}
}

func FuzzSandboxLine(f *testing.F) {
	f.Add("qemu -sandbox on,spawn=deny")
	f.Add("-sandbox")
	f.Add("\\\n \t")
	f.Fuzz(func(t *testing.T, line string) {
		if sandboxLine(line) && !sandboxLine("qemu "+line+" -name x") {
			t.Errorf("%q has a sandbox, and with more beside it none", line)
		}
	})
}
