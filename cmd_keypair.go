package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/keypairs"
	"github.com/spf13/cobra"
)

func newKeypairCommand() *cobra.Command {
	f := &cloudFlags{}
	cmd := &cobra.Command{
		Use:   "keypair",
		Short: "Name the public keys that guests are given",
	}
	f.add(cmd)
	cmd.AddCommand(newKeypairCreateCommand(f),
		f.command("list", "List your key pairs", cobra.NoArgs, func(cmd *cobra.Command, c *cloud, _ []string) error {
			all, err := c.keypairs(cmd.Context())
			if err != nil {
				return err
			}
			return printList(c.out, keypairColumns, all)
		}),
		f.command("delete KEYPAIR...", "Delete key pairs", cobra.MinimumNArgs(1), func(cmd *cobra.Command, c *cloud, args []string) error {
			return c.each(cmd.Context(), args, func(ctx context.Context, name string) error {
				s, err := c.compute()
				if err != nil {
					return err
				}
				return doing("delete key pair "+name, keypairs.Delete(ctx, s, name, nil).ExtractErr())
			})
		}))
	return cmd
}

func (c *cloud) keypairs(ctx context.Context) ([]keypairs.KeyPair, error) {
	s, err := c.compute()
	if err != nil {
		return nil, err
	}
	pages, err := keypairs.List(s, nil).AllPages(ctx)
	if err != nil {
		return nil, doing("list key pairs", err)
	}
	return keypairs.ExtractKeyPairs(pages)
}

var keypairColumns = []column[keypairs.KeyPair]{
	{"Name", func(k keypairs.KeyPair) any { return k.Name }},
	{"Type", func(k keypairs.KeyPair) any { return k.Type }},
	{"Fingerprint", func(k keypairs.KeyPair) any { return k.Fingerprint }},
}

// maxPublicKey is more than any key has.
const maxPublicKey = 64 << 10

func newKeypairCreateCommand(f *cloudFlags) *cobra.Command {
	var path string
	cmd := f.command("create NAME --public-key FILE", "Give a public key a name", cobra.ExactArgs(1), func(cmd *cobra.Command, c *cloud, args []string) error {
		key, err := readPublicKey(path)
		if err != nil {
			return err
		}
		s, err := c.compute()
		if err != nil {
			return err
		}
		made, err := keypairs.Create(cmd.Context(), s, keypairs.CreateOpts{Name: args[0], Type: "ssh", PublicKey: key}).Extract()
		if err != nil {
			return doing("create key pair "+args[0], err)
		}
		return printOne(c.out, keypairColumns, *made)
	})
	cmd.Long = `Gives a public key a name, by which "server create --key-name" puts it into guests. The private key stays where it is:
make one with ssh-keygen.`
	cmd.Example = `  kilonova keypair create me --public-key ~/.ssh/id_ed25519.pub`
	cmd.Flags().StringVar(&path, "public-key", "", "file with the public key, in OpenSSH's format")
	required(cmd, "public-key")
	return cmd
}

func readPublicKey(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("read the public key: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxPublicKey))
	if err != nil {
		return "", fmt.Errorf("read the public key: %w", err)
	}
	return string(b), nil
}
