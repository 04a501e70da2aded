package main

import (
	"context"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/imagedata"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/images"
	"github.com/spf13/cobra"
)

// cleanUpTime is how long a command that was interrupted takes to remove what it left half done.
const cleanUpTime = 10 * time.Second

func newImageCreateCommand(f *cloudFlags) *cobra.Command {
	var opts images.CreateOpts
	var file string
	var public, protected bool
	var properties []string
	cmd := f.command("create NAME", "Upload a file as an image", cobra.ExactArgs(1), func(cmd *cobra.Command, c *cloud, args []string) error {
		opts.Name = args[0]
		var err error
		if opts.Properties, err = pairs("property", properties); err != nil {
			return err
		}
		if public {
			everyone := images.ImageVisibilityPublic
			opts.Visibility = &everyone
		}
		if protected {
			opts.Protected = &protected
		}
		return c.createImage(cmd.Context(), opts, file)
	})
	cmd.Long = `Uploads a file as an image. The cluster looks into the file before it keeps it: it has to be of the format that is
named, and may not refer to other files. When it is stored, its checksum is compared with the file's.`
	cmd.Example = `  kilonova image create --file debian-12-genericcloud-amd64.qcow2 --disk-format qcow2 --public debian-12
  kilonova image create --file vmlinuz --disk-format aki --container-format aki debian-kernel`
	fl := cmd.Flags()
	fl.StringVar(&file, "file", "", "file to upload")
	fl.StringVar(&opts.DiskFormat, "disk-format", "", "format of the file: qcow2, raw, iso, aki (kernel), ari (ramdisk), ...")
	fl.StringVar(&opts.ContainerFormat, "container-format", "bare", "format of what is around it: bare, aki, ari, ...")
	fl.BoolVar(&public, "public", false, "for all projects (administrators only)")
	fl.BoolVar(&protected, "protected", false, "refuse to delete it")
	fl.IntVar(&opts.MinDisk, "min-disk", 0, "smallest root disk that it boots from, in GiB")
	fl.IntVar(&opts.MinRAM, "min-ram", 0, "least memory that it boots in, in MiB")
	fl.StringArrayVar(&opts.Tags, "tag", nil, "tag; may be given more than once")
	fl.StringArrayVar(&properties, "property", nil, "property KEY=VALUE, e.g. kernel_id=ID; may be given more than once")
	required(cmd, "file", "disk-format")
	choices(cmd, "disk-format", "qcow2", "raw", "iso", "aki", "ari", "ami", "vmdk", "vdi", "vhd", "vhdx")
	return cmd
}

// createImage makes the record, uploads the file and compares checksums. What fails leaves no record.
func (c *cloud) createImage(ctx context.Context, opts images.CreateOpts, path string) error {
	file, err := openUpload(path)
	if err != nil {
		return err
	}
	defer file.Close()
	s, err := c.image()
	if err != nil {
		return err
	}
	made, err := images.Create(ctx, s, opts).Extract()
	if err != nil {
		return doing("create image "+opts.Name, err)
	}
	shown := newProgress(c.notes, "image "+opts.Name, file.size)
	file.also = shown
	err = imagedata.Upload(ctx, s, made.ID, file).ExtractErr()
	shown.close()
	if err == nil {
		if made, err = images.Get(ctx, s, made.ID).Extract(); err == nil {
			return errors.Join(sameHash(*made, file.sum()), printOne(c.out, imageDetails(), *made))
		}
		return doing("show image "+opts.Name+", which is uploaded", err)
	}
	err = doing("upload "+path, err)
	cleanUp, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTime)
	defer cancel()
	if left := c.deleteImage(cleanUp, made.ID); left != nil {
		err = errors.Join(err, doing("remove the record of image "+made.ID+", which has no data", left))
	}
	return err
}

// upload is a file on its way: it counts, and hashes what is read.
type upload struct {
	file *os.File // not embedded: its WriteTo would get around Read
	size int64
	done int64
	hash hash.Hash
	also io.Writer
}

func openUpload(path string) (*upload, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the image: %w", err)
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err == nil && st.Size() == 0 {
		err = fmt.Errorf("%s is empty", path)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("read the image: %w", err)
	}
	return &upload{file: f, size: st.Size(), hash: sha512.New(), also: io.Discard}, nil
}

// Close ends it. The transport does so, too.
func (u *upload) Close() error { return u.file.Close() }

// Size tells the transport how much there will be.
func (u *upload) Size() int64 { return u.size }

// Read gives the next part of the file.
func (u *upload) Read(b []byte) (int, error) {
	n, err := u.file.Read(b)
	if u.done += int64(n); u.done > u.size || err == io.EOF && u.done < u.size {
		return 0, fmt.Errorf("%s changed while it was read", u.file.Name())
	}
	u.hash.Write(b[:n])
	_, _ = u.also.Write(b[:n]) // progress only
	return n, err
}

func (u *upload) sum() string { return hex.EncodeToString(u.hash.Sum(nil)) }

// sameHash compares an image with the hash of what was transferred. An image without a SHA-512 passes.
func sameHash(i images.Image, sum string) error {
	algorithm, _ := i.Properties["os_hash_algo"].(string)
	want, _ := i.Properties["os_hash_value"].(string)
	if algorithm != "sha512" || want == "" || want == sum {
		return nil
	}
	return fmt.Errorf("image %s (%s) and the file differ: their SHA-512 hashes are %s and %s", i.Name, i.ID, want, sum)
}

func newImageSaveCommand(f *cloudFlags) *cobra.Command {
	var path string
	cmd := f.command("save IMAGE --file FILE", "Download an image", cobra.ExactArgs(1), func(cmd *cobra.Command, c *cloud, args []string) error {
		found, err := c.findImage(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return c.saveImage(cmd.Context(), found, path)
	})
	cmd.Example = `  kilonova image save debian-12 --file debian-12.qcow2`
	cmd.Flags().StringVar(&path, "file", "", "where to write it; what is there is replaced")
	required(cmd, "file")
	return cmd
}

// saveImage downloads beside the place where the file will be, so that a half one is never taken for the image.
func (c *cloud) saveImage(ctx context.Context, i images.Image, path string) error {
	s, err := c.image()
	if err != nil {
		return err
	}
	body, err := imagedata.Download(ctx, s, i.ID).Extract()
	if err != nil {
		return doing("download image "+i.Name, err)
	}
	defer body.Close()
	part, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("save image %s: %w", i.Name, err)
	}
	defer os.Remove(part.Name())
	sum, shown := sha512.New(), newProgress(c.notes, "image "+i.Name, i.SizeBytes)
	n, err := io.Copy(io.MultiWriter(part, sum, shown), body)
	shown.close()
	if err == nil && n != i.SizeBytes {
		err = fmt.Errorf("got %d of %d bytes", n, i.SizeBytes)
	}
	if err == nil {
		err = sameHash(i, hex.EncodeToString(sum.Sum(nil)))
	}
	if err == nil {
		err = part.Chmod(0o644)
	}
	if err = errors.Join(explain(err), part.Close()); err != nil {
		return fmt.Errorf("save image %s: %w", i.Name, err)
	}
	if err := os.Rename(part.Name(), path); err != nil {
		return fmt.Errorf("save image %s: %w", i.Name, err)
	}
	return nil
}
