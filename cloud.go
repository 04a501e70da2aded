package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/config"
	"github.com/gophercloud/gophercloud/v2/openstack/config/clouds"
	"github.com/spf13/cobra"
	"gopkg.in/yaml.v3"

	"github.com/kilonova/kilonova/node"
)

// computeVersion is the microversion of Nova's API that these commands speak: the first one that takes a host in
// a create, and late enough for a server to say what its flavor was.
const computeVersion = "2.74"

// The forms in which commands print what they found.
const (
	asTable = "table"
	asJSON  = "json"
)

// cloudFlags are the flags that all commands share which use the cloud through OpenStack's API.
type cloudFlags struct {
	cloudName string
	output    string
}

func (f *cloudFlags) add(cmd *cobra.Command) {
	p := cmd.PersistentFlags()
	p.StringVar(&f.cloudName, "os-cloud", "", "cloud of clouds.yaml to use (default: $OS_CLOUD)")
	p.StringVarP(&f.output, "output", "o", asTable, "what to print: table or json")
	p.String("data-dir", node.DefaultDataDir, "directory of the node on this machine, for its administrator's credentials")
	cmd.Long = cmd.Short + ".\n\n" + credentialsHelp
	choices(cmd, "output", asTable, asJSON)
}

const credentialsHelp = `Who you are, and where the cloud is, comes from a cloud of clouds.yaml (--os-cloud or OS_CLOUD), else from the
variables OS_AUTH_URL, OS_USERNAME and so on, as with every OpenStack client. On a node, root needs neither.`

// choices completes a flag with the values that it takes.
func choices(cmd *cobra.Command, flag string, values ...string) {
	// It fails only for a flag that does not exist.
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}

// cloudAction is what a command does once it is connected.
type cloudAction func(cmd *cobra.Command, c *cloud, args []string) error

// command makes a command that uses the cloud.
func (f *cloudFlags) command(use, short string, args cobra.PositionalArgs, do cloudAction) *cobra.Command {
	return &cobra.Command{
		Use:   use,
		Short: short,
		Args:  args,

		ValidArgsFunction: f.completeArguments,
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.output != asTable && f.output != asJSON {
				return usagef("--output %q is not table or json", f.output)
			}
			c, err := f.connect(cmd)
			if err != nil {
				return err
			}
			defer c.close()
			return do(cmd, c, args)
		},
	}
}

// cloud is a connection to the services, with a token.
type cloud struct {
	provider  *gophercloud.ProviderClient
	endpoints gophercloud.EndpointOpts
	out       printer
	notes     io.Writer // progress and what else is not the result
}

// connect finds the credentials and logs in.
func (f *cloudFlags) connect(cmd *cobra.Command) (*cloud, error) {
	creds, err := f.credentials(cmd)
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = creds.tls
	httpClient := http.Client{Transport: &patient{next: transport, notes: cmd.ErrOrStderr()}}
	creds.auth.AllowReauth = creds.auth.TokenID == "" // a long --wait may outlive its token
	provider, err := config.NewProviderClient(cmd.Context(), creds.auth, config.WithHTTPClient(httpClient))
	if err != nil {
		transport.CloseIdleConnections()
		return nil, fmt.Errorf("log in at %s (credentials: %s): %w", creds.auth.IdentityEndpoint, creds.source, explain(err))
	}
	provider.UserAgent.Prepend("kilonova/" + version)
	return &cloud{
		provider: provider, endpoints: creds.endpoints,
		out: printer{to: cmd.OutOrStdout(), json: f.output == asJSON}, notes: cmd.ErrOrStderr(),
	}, nil
}

func (c *cloud) close() { c.provider.HTTPClient.CloseIdleConnections() }

func (c *cloud) compute() (*gophercloud.ServiceClient, error) {
	s, err := openstack.NewComputeV2(c.provider, c.endpoints)
	if err != nil {
		return nil, noService("compute", err)
	}
	s.Microversion = computeVersion
	return s, nil
}

func (c *cloud) image() (*gophercloud.ServiceClient, error) {
	s, err := openstack.NewImageV2(c.provider, c.endpoints)
	return s, noService("image", err)
}

func (c *cloud) network() (*gophercloud.ServiceClient, error) {
	s, err := openstack.NewNetworkV2(c.provider, c.endpoints)
	return s, noService("network", err)
}

func noService(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("find the %s service in the cloud's catalog: %w", name, explain(err))
}

// credentials say who the user is, and where the cloud is.
type credentials struct {
	auth      gophercloud.AuthOptions
	endpoints gophercloud.EndpointOpts
	tls       *tls.Config
	source    string // for people
}

// credentials looks where OpenStack's clients look: a cloud of clouds.yaml that is named, then the variables OS_*. On
// a node, the administrator's clouds.yaml in its data directory comes last.
func (f *cloudFlags) credentials(cmd *cobra.Command) (credentials, error) {
	name := f.cloudName
	if name == "" {
		name = os.Getenv("OS_CLOUD")
	}
	file := os.Getenv("OS_CLIENT_CONFIG_FILE")
	switch {
	case name != "":
		return parseClouds("cloud "+name+" of clouds.yaml", clouds.WithCloudName(name))
	case os.Getenv("OS_AUTH_URL") != "":
		return environmentCredentials()
	case file != "":
		return parseClouds("cloud "+node.CloudName+" of "+file, clouds.WithCloudName(node.CloudName), clouds.WithLocations(file))
	}
	dir, err := dataDir(cmd.Flags())
	if err != nil {
		return credentials{}, err
	}
	path := node.CloudsFile(dir)
	if path == "" {
		return credentials{}, errors.New("there are no credentials: copy clouds.yaml from the node that made the cluster (`kilonova node init` " +
			"printed where it is) to ~/.config/openstack/clouds.yaml and set OS_CLOUD=" + node.CloudName + ", set OS_AUTH_URL and the like, or name the data directory of the node on this machine with --data-dir")
	}
	if _, err := os.ReadFile(path); err != nil {
		return credentials{}, fmt.Errorf("read the administrator's credentials (run this command as root, or set OS_CLOUD): %w", err)
	}
	return parseClouds(path, clouds.WithCloudName(node.CloudName), clouds.WithLocations(path))
}

func parseClouds(source string, opts ...clouds.ParseOption) (credentials, error) {
	auth, endpoints, tlsConfig, err := clouds.Parse(opts...)
	if err != nil {
		return credentials{}, fmt.Errorf("read the credentials (%s): %w: `kilonova node init` wrote a clouds.yaml into the data directory of the "+
			"first node, with a cloud named %s; OS_CLIENT_CONFIG_FILE names the file", source, err, node.CloudName)
	}
	if auth.IdentityEndpoint == "" {
		return credentials{}, fmt.Errorf("read the credentials (%s): there is no auth_url", source)
	}
	return credentials{auth, endpoints, tlsConfig, source}, nil
}

// environmentCredentials makes a cloud of clouds.yaml from the variables that openrc files set, so that both are
// understood alike. The library's own reader of variables knows neither separate domains nor OS_CACERT.
func environmentCredentials() (credentials, error) {
	auth := map[string]string{}
	for _, key := range []string{
		"auth_url", "username", "user_id", "password", "token", "project_name", "project_id", "user_domain_name", "user_domain_id",
		"project_domain_name", "project_domain_id", "domain_name", "domain_id", "system_scope", "application_credential_id",
		"application_credential_name", "application_credential_secret",
	} {
		if v := os.Getenv("OS_" + strings.ToUpper(key)); v != "" {
			auth[key] = v
		}
	}
	if auth["password"]+auth["token"]+auth["application_credential_secret"] == "" {
		return credentials{}, errors.New("OS_AUTH_URL is set, but none of OS_PASSWORD, OS_TOKEN and OS_APPLICATION_CREDENTIAL_SECRET: " +
			"set one, or name a cloud of clouds.yaml with OS_CLOUD")
	}
	if auth["token"] == "" && auth["application_credential_id"] == "" {
		for _, prefix := range []string{"user_domain", "project_domain"} {
			if auth[prefix+"_name"]+auth[prefix+"_id"]+auth["domain_name"]+auth["domain_id"] == "" {
				auth[prefix+"_name"] = "Default"
			}
		}
	}
	text, err := yaml.Marshal(map[string]any{"clouds": map[string]any{"env": map[string]any{"auth": auth}}})
	if err != nil {
		return credentials{}, err
	}
	return parseClouds("the variables OS_*", clouds.WithCloudName("env"), clouds.WithCloudsYAML(bytes.NewReader(text)))
}

// note writes a line that is not the result.
func (c *cloud) note(format string, args ...any) { fmt.Fprintf(c.notes, format+"\n", args...) }

// each runs an action on several things in turn, and joins what went wrong.
func (c *cloud) each(ctx context.Context, names []string, act func(ctx context.Context, name string) error) error {
	var errs []error
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return errors.Join(append(errs, err)...)
		}
		if err := act(ctx, name); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
