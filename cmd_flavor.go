package main

import (
	"context"

	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/flavors"
	"github.com/spf13/cobra"
)

func newFlavorCommand() *cobra.Command {
	f := &cloudFlags{}
	cmd := &cobra.Command{
		Use:   "flavor",
		Short: "Create and look at flavors: the sizes that servers come in",
	}
	f.add(cmd)
	cmd.AddCommand(newFlavorCreateCommand(f),
		f.command("list", "List flavors", cobra.NoArgs, func(cmd *cobra.Command, c *cloud, _ []string) error {
			all, err := c.flavors(cmd.Context())
			if err != nil {
				return err
			}
			return printList(c.out, flavorColumns, all)
		}),
		f.command("show FLAVOR", "Show a flavor, by name or ID", cobra.ExactArgs(1), func(cmd *cobra.Command, c *cloud, args []string) error {
			found, err := c.findFlavor(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return printOne(c.out, flavorDetails(), found)
		}),
		f.command("delete FLAVOR...", "Delete flavors, by name or ID; servers that have them keep them", cobra.MinimumNArgs(1),
			func(cmd *cobra.Command, c *cloud, args []string) error {
				return c.each(cmd.Context(), args, c.deleteFlavor)
			}))
	return cmd
}

var flavorColumns = []column[flavors.Flavor]{
	{"ID", func(f flavors.Flavor) any { return f.ID }},
	{"Name", func(f flavors.Flavor) any { return f.Name }},
	{"VCPUs", func(f flavors.Flavor) any { return f.VCPUs }},
	{"RAM MiB", func(f flavors.Flavor) any { return f.RAM }},
	{"Disk GiB", func(f flavors.Flavor) any { return f.Disk }},
	{"Public", func(f flavors.Flavor) any { return f.IsPublic }},
}

func flavorDetails() []column[flavors.Flavor] {
	return append(flavorColumns[:len(flavorColumns):len(flavorColumns)], []column[flavors.Flavor]{
		{"Description", func(f flavors.Flavor) any { return f.Description }},
		{"Properties", func(f flavors.Flavor) any { return f.ExtraSpecs }},
	}...)
}

// flavors lists the flavors that the user may see.
func (c *cloud) flavors(ctx context.Context) ([]flavors.Flavor, error) {
	s, err := c.compute()
	if err != nil {
		return nil, err
	}
	pages, err := flavors.ListDetail(s, flavors.ListOpts{AccessType: flavors.AllAccess}).AllPages(ctx)
	if err != nil {
		return nil, doing("list flavors", err)
	}
	return flavors.ExtractFlavors(pages)
}

func (c *cloud) findFlavor(ctx context.Context, arg string) (flavors.Flavor, error) {
	all, err := c.flavors(ctx)
	if err != nil {
		return flavors.Flavor{}, err
	}
	return resolve("flavor", arg, all, func(f flavors.Flavor) named { return named{f.ID, f.Name} })
}

func (c *cloud) deleteFlavor(ctx context.Context, arg string) error {
	found, err := c.findFlavor(ctx, arg)
	if err != nil {
		return err
	}
	s, err := c.compute()
	if err != nil {
		return err
	}
	return doing("delete flavor "+arg, flavors.Delete(ctx, s, found.ID).ExtractErr())
}

func newFlavorCreateCommand(f *cloudFlags) *cobra.Command {
	var opts flavors.CreateOpts
	var disk int
	var private bool
	var properties []string
	cmd := f.command("create NAME", "Create a flavor (administrators only)", cobra.ExactArgs(1), func(cmd *cobra.Command, c *cloud, args []string) error {
		specs, err := pairs("property", properties)
		if err != nil {
			return err
		}
		public := !private
		opts.Name, opts.Disk, opts.IsPublic = args[0], &disk, &public
		return c.createFlavor(cmd.Context(), opts, specs)
	})
	cmd.Example = `  kilonova flavor create small --vcpus 1 --ram 2048 --disk 20`
	fl := cmd.Flags()
	fl.IntVar(&opts.VCPUs, "vcpus", 1, "virtual processors")
	fl.IntVar(&opts.RAM, "ram", 0, "memory in MiB")
	fl.IntVar(&disk, "disk", 0, "root disk in GiB; 0: as large as the image")
	fl.StringVar(&opts.ID, "id", "", "ID (default: one is made)")
	fl.StringVar(&opts.Description, "description", "", "what it is for")
	fl.BoolVar(&private, "private", false, "only for projects that are given access")
	fl.StringArrayVar(&properties, "property", nil, "extra spec KEY=VALUE; may be given more than once")
	required(cmd, "ram")
	return cmd
}

func (c *cloud) createFlavor(ctx context.Context, opts flavors.CreateOpts, specs map[string]string) error {
	s, err := c.compute()
	if err != nil {
		return err
	}
	made, err := flavors.Create(ctx, s, opts).Extract()
	if err != nil {
		return doing("create flavor "+opts.Name, err)
	}
	if len(specs) > 0 {
		made.ExtraSpecs, err = flavors.CreateExtraSpecs(ctx, s, made.ID, flavors.ExtraSpecsOpts(specs)).Extract()
		if err != nil {
			return doing("set the properties of flavor "+opts.Name+", which is made", err)
		}
	}
	return printOne(c.out, flavorDetails(), *made)
}
