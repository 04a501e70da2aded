package main

import (
	"context"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/volumes"
	"github.com/spf13/cobra"
)

func newVolumeCommand() *cobra.Command {
	f := &cloudFlags{}
	cmd := &cobra.Command{
		Use:   "volume",
		Short: "Create and look at volumes",
	}
	f.add(cmd)
	cmd.AddCommand(newVolumeCreateCommand(f),
		f.command("list", "List volumes", cobra.NoArgs, func(cmd *cobra.Command, c *cloud, _ []string) error {
			all, err := c.volumes(cmd.Context())
			if err != nil {
				return err
			}
			return printList(c.out, volumeColumns, all)
		}),
		f.command("show VOLUME", "Show a volume, by name or ID", cobra.ExactArgs(1), func(cmd *cobra.Command, c *cloud, args []string) error {
			found, err := c.findVolume(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return printOne(c.out, volumeColumns, found)
		}),
		f.command("delete VOLUME...", "Delete volumes, by name or ID", cobra.MinimumNArgs(1), func(cmd *cobra.Command, c *cloud, args []string) error {
			return c.each(cmd.Context(), args, c.deleteVolume)
		}))
	return cmd
}

var volumeColumns = []column[volumes.Volume]{
	{"ID", func(v volumes.Volume) any { return v.ID }},
	{"Name", func(v volumes.Volume) any { return v.Name }},
	{"Status", func(v volumes.Volume) any { return v.Status }},
	{"GiB", func(v volumes.Volume) any { return v.Size }},
	{"Type", func(v volumes.Volume) any { return v.VolumeType }},
	{"Server", func(v volumes.Volume) any {
		servers := []string{}
		for _, a := range v.Attachments {
			servers = append(servers, a.ServerID)
		}
		return servers
	}},
}

func (c *cloud) volume() (*gophercloud.ServiceClient, error) {
	s, err := openstack.NewBlockStorageV3(c.provider, c.endpoints)
	return s, noService("volume", err)
}

func (c *cloud) volumes(ctx context.Context) ([]volumes.Volume, error) {
	s, err := c.volume()
	if err != nil {
		return nil, err
	}
	pages, err := volumes.List(s, nil).AllPages(ctx)
	if err != nil {
		return nil, doing("list volumes", err)
	}
	return volumes.ExtractVolumes(pages)
}

func (c *cloud) findVolume(ctx context.Context, arg string) (volumes.Volume, error) {
	all, err := c.volumes(ctx)
	if err != nil {
		return volumes.Volume{}, err
	}
	return resolve("volume", arg, all, func(v volumes.Volume) named { return named{v.ID, v.Name} })
}

func (c *cloud) deleteVolume(ctx context.Context, arg string) error {
	found, err := c.findVolume(ctx, arg)
	if err != nil {
		return err
	}
	s, err := c.volume()
	if err != nil {
		return err
	}
	return doing("delete volume "+arg, volumes.Delete(ctx, s, found.ID, nil).ExtractErr())
}

func newVolumeCreateCommand(f *cloudFlags) *cobra.Command {
	var opts volumes.CreateOpts
	var image string
	cmd := f.command("create NAME --size GIB", "Make a volume", cobra.ExactArgs(1), func(cmd *cobra.Command, c *cloud, args []string) error {
		s, err := c.volume()
		if err != nil {
			return err
		}
		if image != "" {
			found, err := c.findImage(cmd.Context(), image)
			if err != nil {
				return err
			}
			opts.ImageID = found.ID
		}
		opts.Name = args[0]
		made, err := volumes.Create(cmd.Context(), s, opts, nil).Extract()
		if err != nil {
			return doing("create volume "+args[0], err)
		}
		return printOne(c.out, volumeColumns, *made)
	})
	cmd.Long = `Makes a volume: empty, or with what an image holds. Its file is made on the node of the first server that it is attached to,
unless its type is a shared one.`
	cmd.Example = `  kilonova volume create data --size 10
  kilonova volume create root --size 10 --image debian-12 --type shared`
	cmd.Flags().IntVar(&opts.Size, "size", 0, "GiB")
	cmd.Flags().StringVar(&opts.VolumeType, "type", "", "local (the default), shared, or either with -encrypted or -multiattach behind it")
	cmd.Flags().StringVar(&image, "image", "", "image that the volume begins as, by name or ID")
	required(cmd, "size")
	return cmd
}
