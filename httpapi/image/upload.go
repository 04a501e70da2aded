package image

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
	virtimage "github.com/kilonova/kilonova/virt/image"
)

// upload takes an image's bytes in. The body is read once, as it comes, and only after the record is this upload's.
func (s *server) upload(w http.ResponseWriter, r *http.Request) error {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/octet-stream" {
		return unsupported(r)
	}
	view, err := rest.View(r, s.Backend)
	if err != nil {
		return err
	}
	i, err := findOwn(r, view, "upload_image")
	if err != nil {
		return err
	}
	if r.ContentLength > s.MaxBytes {
		return tooLarge(s.MaxBytes)
	}
	u, err := s.claim(r.Context(), i.ID)
	if err != nil {
		return err
	}
	defer u.close()
	data, err := s.takeIn(u, r, &incoming{body: r.Body, stall: s.stall, conn: http.NewResponseController(w)})
	if err == nil {
		err = u.finish(context.WithoutCancel(r.Context()), data)
	}
	if err != nil {
		if err := u.giveUp(context.WithoutCancel(r.Context())); err != nil {
			rest.Log(r).Warn("put an image back to queued", "image", i.ID, "err", err)
		}
		return uploadError(err)
	}
	noContent(w)
	return nil
}

// takeIn stores and checks the body, and copies it to other nodes.
func (s *server) takeIn(u *uploadClaim, r *http.Request, body *incoming) (*cluster.ImageData, error) {
	ctx, stop := u.keepAlive(r.Context())
	defer stop()
	data := &cluster.ImageData{}
	blob, err := s.Store.Import(ctx, body, r.ContentLength, s.MaxBytes, func(b io.ReaderAt, size int64) error {
		virtual, err := inspect(u.image.Format.Disk, b, size)
		data.VirtualSize = virtual
		return err
	})
	if body.broken {
		err = errCutOff
	}
	if err != nil {
		return nil, ended(ctx, err)
	}
	if err := compare(u.image, r.Header.Get("Content-MD5"), blob); err != nil {
		return nil, err
	}
	data.Root, data.Size, data.MD5, data.SHA512 = blob.Root, blob.Size, blob.MD5, blob.SHA512
	data.Nodes, err = s.Copies.Replicate(ctx, blob.Root)
	if err != nil {
		return nil, ended(ctx, err)
	}
	return data, nil
}

// errCutOff is for a client that went away, or that sends nothing any more.
var errCutOff = cluster.Errorf(cluster.Invalid, "The upload ended before all of the image had come.")

// incoming is the body of an upload. A body as a whole may take as long as it likes, but not for ever to go on.
type incoming struct {
	body   io.Reader
	stall  time.Duration // the longest wait for more
	conn   *http.ResponseController
	broken bool // the body ended in an error: the client's fault, not the store's
}

// Read waits for more of the body, but no longer than stall.
func (b *incoming) Read(p []byte) (int, error) {
	_ = b.conn.SetReadDeadline(time.Now().Add(b.stall)) // what has no deadline, as in tests, waits
	n, err := b.body.Read(p)
	if errors.Is(err, io.EOF) {
		_ = b.conn.SetReadDeadline(time.Time{}) // the server goes on listening whether the client is there
	}
	b.broken = b.broken || err != nil && !errors.Is(err, io.EOF)
	return n, err
}

// ended prefers the reason for which an upload was stopped to what came of that.
func ended(ctx context.Context, err error) error {
	var why *cluster.Error
	if errors.As(context.Cause(ctx), &why) {
		return why
	}
	return err
}

// inspect judges whether bytes are what their record claims, and says how large a disk they hold; 0: that is not known. A
// file that is empty claims nothing, so it passes as anything that has no header.
func inspect(claimed string, b io.ReaderAt, size int64) (virtual int64, err error) {
	format := virtimage.Format(claimed)
	part := format == virtimage.AMI || format == virtimage.AKI || format == virtimage.ARI
	if size == 0 && (part || format == virtimage.Raw) {
		return 0, nil
	}
	info, err := virtimage.Inspect(b, size)
	if err != nil {
		return 0, err
	}
	if err := virtimage.Check(format, info); err != nil {
		return 0, err
	}
	if part {
		return 0, nil
	}
	return info.VirtualSize, nil
}

// The properties in which openstacksdk tells what it is about to upload; empty when it did not look.
const (
	ownMD5    = "owner_specified.openstack.md5"
	ownSHA256 = "owner_specified.openstack.sha256"
)

// compare refuses bytes that are not those that the client said it would send. A snapshot's record has such properties
// from the image that it was made from, which say nothing about its own bytes.
func compare(i *cluster.Image, contentMD5 string, blob Blob) error {
	md5, sha256 := i.Properties[ownMD5], i.Properties[ownSHA256]
	if i.Properties["base_image_ref"] != "" {
		md5, sha256 = "", ""
	}
	for _, sum := range []struct{ name, said, is string }{
		{"Content-MD5", contentMD5, blob.MD5}, {ownMD5, md5, blob.MD5}, {ownSHA256, sha256, blob.SHA256},
	} {
		if len(sum.said) == len(sum.is) && !strings.EqualFold(sum.said, sum.is) {
			return cluster.Errorf(cluster.Invalid, "The image was corrupted on its way: its checksum is %s, and %s says %s.", sum.is, sum.name, clip(sum.said))
		}
	}
	return nil
}

// uploadError gives a failed upload Glance's status.
func uploadError(err error) error {
	var refusal *cluster.Error
	switch {
	case errors.As(err, &refusal) && refusal.Code == cluster.NoRoom:
		return &rest.HTTPError{Status: http.StatusRequestEntityTooLarge, Code: cluster.NoRoom, Message: "Image storage media is full: " + refusal.Message}
	case refusal != nil:
		return err
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, context.Canceled):
		return errCutOff
	}
	return err
}

func tooLarge(most int64) error {
	return cluster.Errorf(cluster.TooLarge, "The provided image is too large: %d bytes are the most.", most)
}

// unsupported is the 415 for what a body says it is.
func unsupported(r *http.Request) error {
	return &rest.HTTPError{Status: http.StatusUnsupportedMediaType, Code: cluster.Invalid,
		Message: "The request media type " + clip(r.Header.Get("Content-Type")) + " is not supported by this server."}
}
