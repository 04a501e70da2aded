package main

import (
	"context"
	"fmt"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/images"
	"github.com/spf13/cobra"
)

// secretColumns show a password that was made for the user, once.
func secretColumns() []column[string] {
	return []column[string]{{"Admin password", func(p string) any { return p }}}
}

func newRebuildCommand(f *cloudFlags) *cobra.Command {
	var w waitFlags
	var opts servers.RebuildOpts
	cmd := f.command("rebuild SERVER", "Make a server's disk anew from an image", cobra.ExactArgs(1), func(cmd *cobra.Command, c *cloud, args []string) error {
		image, err := c.findImage(cmd.Context(), opts.ImageRef)
		if err != nil {
			return err
		}
		opts.ImageRef = image.ID
		password := ""
		err = c.serverActionOn(cmd.Context(), args[0], "rebuild", "", w, func(ctx context.Context, s *gophercloud.ServiceClient, id string) error {
			made, err := servers.Rebuild(ctx, s, id, opts).Extract()
			if err == nil {
				password = made.AdminPass
			}
			return err
		})
		if err != nil {
			return err
		}
		return printOne(c.out, secretColumns(), password)
	})
	cmd.Long = `Makes a server's disk anew from an image, its own or another. What was on the disk is lost. Its ID, addresses and volumes stay.`
	cmd.Flags().StringVar(&opts.ImageRef, "image", "", "the image, by name or ID")
	cmd.Flags().StringVar(&opts.AdminPass, "password", "", "administrator's password that the guest is told (default: a new one, which is printed)")
	w.add(cmd)
	required(cmd, "image")
	f.completeFlags(cmd, map[string]string{"image": "IMAGE"})
	return cmd
}

func newRescueCommand(f *cloudFlags) *cobra.Command {
	var w waitFlags
	var opts servers.RescueOpts
	cmd := f.command("rescue SERVER", "Boot a server from another image, its disk beside it", cobra.ExactArgs(1), func(cmd *cobra.Command, c *cloud, args []string) error {
		if opts.RescueImageRef != "" {
			image, err := c.findImage(cmd.Context(), opts.RescueImageRef)
			if err != nil {
				return err
			}
			opts.RescueImageRef = image.ID
		}
		password := ""
		err := c.serverActionOn(cmd.Context(), args[0], "rescue", "RESCUE", w, func(ctx context.Context, s *gophercloud.ServiceClient, id string) error {
			var err error
			password, err = servers.Rescue(ctx, s, id, opts).Extract()
			return err
		})
		if err != nil {
			return err
		}
		return printOne(c.out, secretColumns(), password)
	})
	cmd.Flags().StringVar(&opts.RescueImageRef, "image", "", "the image, by name or ID (default: the one that the server was made from)")
	cmd.Flags().StringVar(&opts.AdminPass, "password", "", "administrator's password that the guest is told (default: a new one, which is printed)")
	w.add(cmd)
	f.completeFlags(cmd, map[string]string{"image": "IMAGE"})
	return cmd
}

func newSnapshotCommand(f *cloudFlags) *cobra.Command {
	var w waitFlags
	var name string
	cmd := f.command("snapshot SERVER", "Save a server's disk as an image", cobra.ExactArgs(1), func(cmd *cobra.Command, c *cloud, args []string) error {
		return c.saveDisk(cmd.Context(), args[0], w, func(ctx context.Context, s *gophercloud.ServiceClient, id string) (string, error) {
			return servers.CreateImage(ctx, s, id, servers.CreateImageOpts{Name: name}).ExtractImageID()
		})
	})
	cmd.Flags().StringVar(&name, "name", "", "name of the new image")
	w.add(cmd)
	required(cmd, "name")
	return cmd
}

func newBackupCommand(f *cloudFlags) *cobra.Command {
	var w waitFlags
	var name, kind string
	var keep int
	cmd := f.command("backup SERVER", "Save a server's disk as one of a number of backups", cobra.ExactArgs(1), func(cmd *cobra.Command, c *cloud, args []string) error {
		if keep < 1 {
			return usagef("--rotate %d keeps no backup: it has to be 1 at least", keep)
		}
		return c.saveDisk(cmd.Context(), args[0], w, func(ctx context.Context, s *gophercloud.ServiceClient, id string) (string, error) {
			var made struct {
				ID string `json:"image_id"`
			}
			body := map[string]any{"createBackup": map[string]any{"name": name, "backup_type": kind, "rotation": keep}}
			_, err := s.Post(ctx, s.ServiceURL("servers", id, "action"), body, &made, &gophercloud.RequestOpts{OkCodes: []int{202}})
			return made.ID, err
		})
	})
	cmd.Example = `  kilonova server backup web-1 --name web-1-monday --type daily --rotate 7 --wait`
	cmd.Flags().StringVar(&name, "name", "", "name of the new image")
	cmd.Flags().StringVar(&kind, "type", "daily", "word for the backups that rotate together")
	cmd.Flags().IntVar(&keep, "rotate", 1, "how many backups of this type are kept; the oldest go")
	w.add(cmd)
	required(cmd, "name")
	return cmd
}

// saveDisk begins to save a server's disk to an image, waits for it when w says so, and shows it.
func (c *cloud) saveDisk(ctx context.Context, arg string, w waitFlags, save func(context.Context, *gophercloud.ServiceClient, string) (string, error)) error {
	image := ""
	err := c.serverActionOn(ctx, arg, "save the disk of", "", w, func(ctx context.Context, s *gophercloud.ServiceClient, id string) error {
		var err error
		image, err = save(ctx, s, id)
		return err
	})
	if err != nil {
		return err
	}
	s, err := c.image()
	if err != nil {
		return err
	}
	i, err := images.Get(ctx, s, image).Extract()
	if err != nil {
		return doing("show image "+image, err)
	}
	if w.wait && i.Status != images.ImageStatusActive {
		return fmt.Errorf("image %s of server %s is %s", image, arg, i.Status)
	}
	return printOne(c.out, imageDetails(), *i)
}
