package main

import (
	"context"
	"maps"
	"slices"

	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/images"
	"github.com/spf13/cobra"
)

func newImageCommand() *cobra.Command {
	f := &cloudFlags{}
	cmd := &cobra.Command{
		Use:   "image",
		Short: "Upload and look after images: what servers boot",
	}
	f.add(cmd)
	cmd.AddCommand(newImageCreateCommand(f), newImageSaveCommand(f),
		f.command("list", "List images", cobra.NoArgs, func(cmd *cobra.Command, c *cloud, _ []string) error {
			all, err := c.images(cmd.Context(), images.ListOpts{})
			if err != nil {
				return err
			}
			return printList(c.out, imageColumns, all)
		}),
		f.command("show IMAGE", "Show an image, by name or ID", cobra.ExactArgs(1), func(cmd *cobra.Command, c *cloud, args []string) error {
			found, err := c.findImage(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return printOne(c.out, imageDetails(), found)
		}),
		f.command("delete IMAGE...", "Delete images, by name or ID; servers that were made from them go on", cobra.MinimumNArgs(1),
			func(cmd *cobra.Command, c *cloud, args []string) error {
				return c.each(cmd.Context(), args, func(ctx context.Context, arg string) error {
					found, err := c.findImage(ctx, arg)
					if err != nil {
						return err
					}
					return doing("delete image "+arg, c.deleteImage(ctx, found.ID))
				})
			}))
	return cmd
}

var imageColumns = []column[images.Image]{
	{"ID", func(i images.Image) any { return i.ID }},
	{"Name", func(i images.Image) any { return i.Name }},
	{"Status", func(i images.Image) any { return i.Status }},
	{"Format", func(i images.Image) any { return i.DiskFormat }},
	{"Size", func(i images.Image) any { return bytesSize(i.SizeBytes) }},
	{"Visibility", func(i images.Image) any { return i.Visibility }},
}

func imageDetails() []column[images.Image] {
	return append(imageColumns[:len(imageColumns):len(imageColumns)], []column[images.Image]{
		{"Container format", func(i images.Image) any { return i.ContainerFormat }},
		{"Virtual size", func(i images.Image) any { return bytesSize(i.VirtualSize) }},
		{"Minimum disk GiB", func(i images.Image) any { return i.MinDiskGigabytes }},
		{"Minimum RAM MiB", func(i images.Image) any { return i.MinRAMMegabytes }},
		{"Protected", func(i images.Image) any { return i.Protected }},
		{"Owner", func(i images.Image) any { return i.Owner }},
		{"Checksum", func(i images.Image) any { return i.Checksum }},
		{"Tags", func(i images.Image) any { return i.Tags }},
		{"Properties", func(i images.Image) any { return imageProperties(i) }},
		{"Created", func(i images.Image) any { return i.CreatedAt }},
		{"Updated", func(i images.Image) any { return i.UpdatedAt }},
	}...)
}

// links are fields of an image that lead to others, or that are shown by another name.
var links = []string{"self", "stores", "direct_url", "locations", "size"}

// imageProperties are those that somebody set, and the hash.
func imageProperties(i images.Image) map[string]string {
	out := map[string]string{}
	for _, k := range slices.Sorted(maps.Keys(i.Properties)) {
		if text, ok := i.Properties[k].(string); ok && !slices.Contains(links, k) {
			out[k] = text
		}
	}
	return out
}

func (c *cloud) images(ctx context.Context, opts images.ListOpts) ([]images.Image, error) {
	s, err := c.image()
	if err != nil {
		return nil, err
	}
	pages, err := images.List(s, opts).AllPages(ctx)
	if err != nil {
		return nil, doing("list images", err)
	}
	return images.ExtractImages(pages)
}

// findImage finds an image by its ID or its name.
func (c *cloud) findImage(ctx context.Context, arg string) (images.Image, error) {
	s, err := c.image()
	if err != nil {
		return images.Image{}, err
	}
	if isUUID(arg) {
		found, err := images.Get(ctx, s, arg).Extract()
		if err == nil {
			return *found, nil
		}
		if err = doing("find image "+arg, err); !isMissing(err) {
			return images.Image{}, err
		}
	}
	all, err := c.images(ctx, images.ListOpts{Name: `in:"` + arg + `"`}) // in: so that a name may have a colon
	if err != nil {
		return images.Image{}, err
	}
	return resolve("image", arg, all, func(i images.Image) named { return named{i.ID, i.Name} })
}

func (c *cloud) deleteImage(ctx context.Context, id string) error {
	s, err := c.image()
	if err != nil {
		return err
	}
	return images.Delete(ctx, s, id).ExtractErr()
}
