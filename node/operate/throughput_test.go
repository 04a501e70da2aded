package operate

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/peer"
	"github.com/kilonova/kilonova/virt"
	"github.com/kilonova/kilonova/virt/disk"
)

// diskMiBEnv says how much the benchmark sends.
const diskMiBEnv = "KILONOVA_BENCH_MIB"

// oneDisk is a hypervisor that has one disk of one instance.
type oneDisk struct{ path string }

// Export implements virt.Disks.
func (d oneDisk) Export(context.Context, cluster.InstanceID, uint64) ([]virt.ExportedDisk, error) {
	f, err := os.Open(d.path)
	if err != nil {
		return nil, err
	}
	found, err := disk.Extents(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	e := virt.ExportedDisk{ID: virt.DiskRoot, Format: "qcow2", Bytes: info.Size(), File: f, Close: f.Close}
	for _, x := range found {
		e.Extents = append(e.Extents, virt.Extent(x))
	}
	return []virt.ExportedDisk{e}, nil
}

// Import implements virt.Disks.
func (oneDisk) Import(context.Context, cluster.InstanceID, uint64, virt.ExportedDisk, virt.RootDisk, int64) error {
	return errors.New("this is the source")
}

// Capture implements virt.Disks.
func (oneDisk) Capture(context.Context, cluster.InstanceID, virt.DiskID, string, bool, func(int)) error {
	return errors.New("this is the source")
}

// stranger is a certificate that proves nothing: only its cost counts here.
func stranger(b *testing.B) tls.Certificate {
	b.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1)}, &x509.Certificate{SerialNumber: big.NewInt(1)}, key.Public(), key)
	if err != nil {
		b.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// BenchmarkCopy compares what comes over one plain TCP connection with a disk that is copied as moves do it: in blocks, hashed,
// over mutual TLS, into a file that is safe on disk. Both go over loopback; to make a link of it, run it in a network namespace
// whose loopback has a queueing discipline.
func BenchmarkCopy(b *testing.B) {
	mib := 256
	if n, err := strconv.Atoi(os.Getenv(diskMiBEnv)); err == nil && n > 0 {
		mib = n
	}
	dir := b.TempDir()
	path := filepath.Join(dir, "disk")
	if err := fillFile(path, mib); err != nil {
		b.Fatal(err)
	}
	bytes := int64(mib) << 20
	b.Run("plain TCP", func(b *testing.B) {
		b.SetBytes(bytes)
		for b.Loop() {
			if err := plainTCP(bytes); err != nil {
				b.Fatal(err)
			}
		}
	})
	client, move, stop := peers(b, path)
	defer stop()
	for name, sink := range map[string]func(b *testing.B, d virt.ExportedDisk) error{
		"disk, to nowhere": func(_ *testing.B, d virt.ExportedDisk) error {
			_, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{io.NewSectionReader(d.File, 0, d.Bytes)}, make([]byte, 1<<20))
			return err
		},
		"disk, to a file": func(b *testing.B, d virt.ExportedDisk) error {
			to := filepath.Join(dir, "copy")
			var extents []disk.Extent
			for _, x := range d.Extents {
				extents = append(extents, disk.Extent(x))
			}
			return errors.Join(disk.WriteSparse(b.Context(), to, d.Bytes, d.File, extents, nil), os.Remove(to))
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(bytes)
			for b.Loop() {
				if err := copyOnce(b, client, move, sink); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func copyOnce(b *testing.B, client *peer.Client, m peer.Move, sink func(*testing.B, virt.ExportedDisk) error) error {
	list, err := client.Disks(b.Context(), n1, m)
	if err != nil {
		return err
	}
	fetch := func(ctx context.Context, parts []peer.Extent, into []byte) error {
		return client.Block(ctx, n1, m, list[0].ID, parts, into)
	}
	r := newRemoteFile(b.Context(), list[0].Bytes, list[0].Extents, fetch)
	d := virt.ExportedDisk{Bytes: list[0].Bytes, File: r}
	for _, x := range list[0].Extents {
		d.Extents = append(d.Extents, virt.Extent(x))
	}
	return errors.Join(sink(b, d), r.Close())
}

func fillFile(path string, mib int) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	block := make([]byte, 1<<20)
	for range mib {
		if _, err := rand.Read(block); err != nil {
			return errors.Join(err, f.Close())
		}
		if _, err := f.Write(block); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	return errors.Join(f.Sync(), f.Close())
}

// plainTCP sends zeros over one connection.
func plainTCP(bytes int64) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	sent := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			sent <- err
			return
		}
		block := make([]byte, 1<<20)
		for left := bytes; left > 0 && err == nil; left -= int64(len(block)) {
			_, err = c.Write(block)
		}
		sent <- errors.Join(err, c.Close())
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return err
	}
	defer c.Close()
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{c}, make([]byte, 1<<20))
	if n < bytes {
		err = errors.Join(err, io.ErrUnexpectedEOF)
	}
	return errors.Join(err, <-sent)
}

// peers are a source that serves a disk, and a client of it, on loopback. The state says that the instance moves.
func peers(b *testing.B, path string) (*peer.Client, peer.Move, func()) {
	b.Helper()
	c := newCloud(b)
	c.must(&cluster.CreateInstances{
		Request: "req-1", Project: "p1", User: "u1", Spec: cluster.Spec{Image: tiny, Flavor: small},
		Items: []cluster.NewInstance{{ID: one, Name: "web", Hostname: "web", Node: n1, Explanation: &cluster.Explanation{Node: n1}}},
	})
	report := func(p cluster.PowerState) {
		in := c.instance()
		c.must(&cluster.ReportInstances{Node: n1, Reports: []cluster.InstanceReport{{ID: one, Generation: in.Generation, Epoch: in.Epoch, Power: p, Boot: in.Boot}}})
	}
	report(cluster.PowerRunning)
	c.must(&cluster.BeginMove{ID: one, Operation: op1, What: cluster.OpMigrate})
	c.must(&cluster.PlaceMove{ID: one, Operation: op1, Node: n2, Explanation: cluster.Explanation{Node: n2}})
	report(cluster.PowerShutdown)
	source := NewSource(n1, c, oneDisk{path}, slog.New(slog.DiscardHandler))
	cert := stranger(b)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAnyClientCert})
	if err != nil {
		b.Fatal(err)
	}
	server := &http.Server{
		Handler:     peer.Router(peer.Services{Disks: source, Log: slog.New(slog.DiscardHandler)}),
		ConnContext: func(ctx context.Context, _ net.Conn) context.Context { return peer.WithAsker(ctx, n2) },
	}
	go func() { _ = server.Serve(l) }()
	client := peer.NewClient(func(ctx context.Context, _ cluster.NodeID) (net.Conn, error) {
		d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13}}
		return d.DialContext(ctx, "tcp", l.Addr().String())
	})
	return client, peer.Move{Instance: one, Operation: op1}, func() { client.Close(); server.Close(); source.Close() }
}
