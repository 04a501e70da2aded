package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/clusterapi"
	"github.com/kilonova/kilonova/node"
)

func newClusterBackupCommand() *cobra.Command {
	var stale bool
	cmd := localCommand("backup FILE", "Save the state of the cluster to a file", cobra.ExactArgs(1), func(cmd *cobra.Command, l *local, args []string) error {
		head, err := saveBackup(cmd.Context(), l, args[0], stale)
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s holds cluster %s at index %d: %d nodes, %d instances. SHA-256 of the state: %x\n",
			args[0], head.ClusterID, head.Index, head.Nodes, head.Instances, head.Hash)
		return nil
	})
	cmd.Long = `Saves the state of the cluster to a file: users, networks, flavors, what is known of images, volumes and instances. It holds everything that was
acknowledged before the command began, whichever node it runs on. What is on disks of guests, in volumes and in images is not in it.

The file holds the secrets of the cluster: the key of its authority, with which anybody becomes a node and so root on every host, the hashes of all
passwords, and the keys of encrypted volumes. It is made for root alone (mode 0600); keep it like that.

"kilonova node init --restore FILE" makes a new cluster of it.`
	cmd.Flags().BoolVar(&stale, "stale", false, "save what this node knows, when no quorum answers")
	return cmd
}

// saveBackup writes a backup as a whole, or leaves what was there. It is read back from the file before it gets its name.
func saveBackup(ctx context.Context, l *local, path string, stale bool) (head cluster.BackupHead, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".backup-*") // mode 0600
	if err != nil {
		return head, err
	}
	defer func() {
		f.Close()
		os.Remove(f.Name()) // it has its name, or is of no use
	}()
	if err := l.stream(ctx, "/backup", f, stale); err != nil {
		return head, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return head, err
	}
	if head, _, err = cluster.ReadBackup(f); err != nil {
		return head, err
	}
	if err := f.Sync(); err != nil {
		return head, err
	}
	return head, os.Rename(f.Name(), path)
}

// stream copies what the node answers to a GET below /cluster/v1.
func (l *local) stream(ctx context.Context, path string, to io.Writer, stale bool) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://node"+clusterapi.Path+path, nil)
	if err != nil {
		return err
	}
	if stale {
		req.Header.Set(consistency, "stale")
	}
	res, err := l.http.Do(req)
	if err != nil {
		return l.explain(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return refusal(res)
	}
	_, err = io.Copy(to, res.Body)
	return err
}

func newConfirmRestoreCommand() *cobra.Command {
	var yes bool
	cmd := localCommand("confirm-restore", "Give your word that the cluster which this one was restored from is gone", cobra.NoArgs, func(cmd *cobra.Command, l *local, _ []string) error {
		if !yes {
			return errors.New("if nodes of the former cluster still run their guests, those may run twice and ruin their volumes: cut their power, then say --yes")
		}
		if err := l.call(cmd.Context(), http.MethodPost, "/confirm-restore", nil, nil); err != nil {
			return err
		}
		fmt.Fprintln(cmd.OutOrStdout(), "Instances are placed again. Those that are made of shared volumes alone are shelved: `openstack server unshelve` brings each back.")
		return nil
	})
	cmd.Long = `Gives your word that no node of the cluster which this one was restored from runs guests any more. Until then no instance is placed, old or new.
Afterwards, instances that are made of shared volumes alone can be brought back with "openstack server unshelve"; what was on a former node alone is
in error.`
	cmd.Flags().BoolVar(&yes, "yes", false, "they are off, or gone")
	return cmd
}

// restore makes the first node of a new cluster out of a backup.
func restore(w io.Writer, cfg node.Config, path string) (clouds string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	head, clouds, err := node.Restore(cfg, f)
	if err != nil {
		return "", fmt.Errorf("restore %s: %w", path, err)
	}
	fmt.Fprintf(w, `This is a new cluster, made of what cluster %s knew on %s (%d instances).
Its former nodes are not part of it: wipe them and let them join. No instance is placed before you say
  kilonova cluster confirm-restore --yes
`, head.ClusterID, head.Created.Std().Format("2006-01-02 15:04:05 MST"), head.Instances)
	return clouds, nil
}
