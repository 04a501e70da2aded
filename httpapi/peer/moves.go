package peer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/go-chi/chi/v5"

	"github.com/kilonova/kilonova/cluster"
)

// Move names a move that is under way, and who asks about it.
type Move struct {
	Instance  cluster.InstanceID
	Operation cluster.OperationID
	Asker     cluster.NodeID // as its certificate says; "" in what a Client is given
}

// Extent is a range of a file, in bytes.
type Extent struct {
	Offset int64 `json:"offset"`
	Length int64 `json:"length"`
}

// Disk is a disk that is to be copied. What is in none of Extents reads as zeros.
type Disk struct {
	ID      string   `json:"id"`
	Format  string   `json:"format"`
	Overlay bool     `json:"overlay"` // on the instance's base image
	Bytes   int64    `json:"bytes"`   // of the file
	Extents []Extent `json:"extents"` // ascending
}

// MaxBlock is the most that one request for a part of a disk may ask for, in bytes, and maxParts in how many extents.
const (
	MaxBlock = 16 << 20
	maxParts = 1 << 13
)

// maxListing bounds the list of an instance's disks, in bytes of JSON.
const maxListing = 64 << 20

// DiskSource gives the disks of instances that move away from this node. Both calls are refused, with code Stale, unless the
// state says that this very move copies the disks of this node to the node that asks.
type DiskSource interface {
	// Disks lists the disks of the instance.
	Disks(ctx context.Context, m Move) ([]Disk, error)

	// Block writes parts of a disk, one after the other.
	Block(ctx context.Context, w io.Writer, m Move, disk string, parts []Extent) error
}

type askerKey struct{}

// WithAsker is the context of a connection whose other end has proved to be a node. A server of Router has it as its
// ConnContext.
func WithAsker(ctx context.Context, node cluster.NodeID) context.Context {
	return context.WithValue(ctx, askerKey{}, node)
}

// asker is the node at the other end; "" when it proved nothing.
func asker(r *http.Request) cluster.NodeID {
	node, _ := r.Context().Value(askerKey{}).(cluster.NodeID)
	return node
}

func moveOf(r *http.Request) Move {
	return Move{
		Instance:  cluster.InstanceID(chi.URLParam(r, "id")),
		Operation: cluster.OperationID(chi.URLParam(r, "operation")),
		Asker:     asker(r),
	}
}

func movePath(m Move, rest string) string {
	return "/v1/moves/" + url.PathEscape(string(m.Instance)) + "/" + url.PathEscape(string(m.Operation)) + "/" + rest
}

// moveRoutes serves the other end of moves.
func (s *server) moveRoutes(r chi.Router) {
	const move = "/v1/moves/{id}/{operation}"
	r.Get(move+"/disks", s.disks)
	r.Post(move+"/disks/{disk}/block", s.block)
	r.Post(move+"/landing", s.land)
	r.Post(move+"/arrival", s.arrival)
	r.Get(move+"/streams/{which}", s.stream101)
}

func (s *server) disks(w http.ResponseWriter, r *http.Request) {
	list, err := s.Disks.Disks(r.Context(), moveOf(r))
	if err != nil {
		fail(w, s.Log, err)
		return
	}
	reply(w, list)
}

// block sends parts of a disk, and the SHA-256 of all that it has read of it.
func (s *server) block(w http.ResponseWriter, r *http.Request) {
	parts, total, err := decodeParts(http.MaxBytesReader(w, r.Body, maxRequestBytes))
	if err != nil {
		fail(w, s.Log, err)
		return
	}
	sum := sha256.New()
	out := &begun{to: w, header: func() {
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", strconv.FormatInt(total+sha256.Size, 10))
	}}
	err = s.Disks.Block(r.Context(), io.MultiWriter(sum, out), moveOf(r), chi.URLParam(r, "disk"), parts)
	if err != nil && !out.began {
		fail(w, s.Log, err)
		return
	}
	if err == nil {
		_, err = out.Write(sum.Sum(nil))
	}
	if err != nil {
		panic(http.ErrAbortHandler) // the peer sees that this is not the end
	}
}

// begun is the body of an answer whose status is open until the first byte.
type begun struct {
	to     io.Writer
	header func()
	began  bool
}

// Write sends the header first.
func (b *begun) Write(p []byte) (int, error) {
	if !b.began {
		b.began = true
		b.header()
	}
	return b.to.Write(p)
}

// decodeParts reads which parts of a disk are asked for, and sums their lengths.
func decodeParts(r io.Reader) (parts []Extent, total int64, err error) {
	if err := json.NewDecoder(r).Decode(&parts); err != nil {
		return nil, 0, cluster.Errorf(cluster.Invalid, "read which part of a disk is wanted: %v", err)
	}
	at := int64(0)
	for _, p := range parts {
		if p.Offset < at || p.Length <= 0 || p.Length > MaxBlock || p.Offset > 1<<62 {
			return nil, 0, cluster.Errorf(cluster.Invalid, "%d bytes at %d of a disk are no part of it, or not the next one", p.Length, p.Offset)
		}
		at = p.Offset + p.Length
		total += p.Length
	}
	if total == 0 || total > MaxBlock || len(parts) > maxParts {
		return nil, 0, cluster.Errorf(cluster.Invalid, "%d bytes of a disk in %d parts: want 1 to %d", total, len(parts), MaxBlock)
	}
	return parts, total, nil
}

// Disks asks the source of a move for its disks.
func (c *Client) Disks(ctx context.Context, source cluster.NodeID, m Move) ([]Disk, error) {
	res, err := c.do(ctx, http.MethodGet, source, movePath(m, "disks"), nil)
	if err != nil {
		return nil, err
	}
	defer drain(res.Body)
	var list []Disk
	if err := json.NewDecoder(io.LimitReader(res.Body, maxListing)).Decode(&list); err != nil {
		return nil, fmt.Errorf("read the disks of node %s: %w", source, err)
	}
	return list, nil
}

// errCorrupt says that what came is not what was sent.
var errCorrupt = errors.New("it was corrupted on its way")

// Block fills into with parts of a disk, whose lengths are those of into together. What it returns without an error is what the
// source read.
func (c *Client) Block(ctx context.Context, source cluster.NodeID, m Move, disk string, parts []Extent, into []byte) error {
	body, err := json.Marshal(parts)
	if err != nil {
		return err
	}
	res, err := c.do(ctx, http.MethodPost, source, movePath(m, "disks/"+url.PathEscape(disk)+"/block"), body)
	if err != nil {
		return err
	}
	defer drain(res.Body)
	var said [sha256.Size]byte
	_, err = io.ReadFull(res.Body, into)
	if err == nil {
		_, err = io.ReadFull(res.Body, said[:])
	}
	if err == nil && !bytes.Equal(said[:], sumOf(into)) {
		err = errCorrupt
	}
	if err != nil {
		return fmt.Errorf("read disk %s from node %s: %w", disk, source, err)
	}
	return nil
}

func sumOf(b []byte) []byte {
	sum := sha256.Sum256(b)
	return sum[:]
}
