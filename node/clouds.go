package node

import (
	"fmt"
	"os"
	"path/filepath"

	"gopkg.in/yaml.v3"
)

// CloudName is what clients are told with --os-cloud.
const CloudName = "kilonova"

// clouds is a clouds.yaml, see "Configuring OpenStack SDK Applications" in the openstacksdk documentation.
type clouds struct {
	Clouds map[string]cloud `yaml:"clouds"`
}

type cloud struct {
	Auth      cloudAuth `yaml:"auth"`
	Region    string    `yaml:"region_name"`
	Interface string    `yaml:"interface"`
	IdentityV int       `yaml:"identity_api_version"`
	CACert    string    `yaml:"cacert,omitempty"`
	Verify    bool      `yaml:"verify"`
}

type cloudAuth struct {
	URL           string `yaml:"auth_url"`
	Username      string `yaml:"username"`
	Password      string `yaml:"password"`
	Project       string `yaml:"project_name"`
	UserDomain    string `yaml:"user_domain_name"`
	ProjectDomain string `yaml:"project_domain_name"`
}

// Region is the only region that the catalog names.
const Region = "RegionOne"

// writeClouds writes the clouds.yaml that a stock client needs and nothing else.
func (d *dataDir) writeClouds(cfg *Config, user, project, password string) error {
	scheme, ca := "https", d.file(authorityPEM)
	if abs, err := filepath.Abs(ca); err == nil {
		ca = abs
	}
	if !cfg.APITLS {
		scheme, ca = "http", ""
	}
	b, err := yaml.Marshal(clouds{Clouds: map[string]cloud{CloudName: {
		Auth: cloudAuth{
			URL:           fmt.Sprintf("%s://%s/identity/v3", scheme, cfg.at(APIPort)),
			Username:      user,
			Password:      password,
			Project:       project,
			UserDomain:    "Default",
			ProjectDomain: "Default",
		},
		Region:    Region,
		Interface: "public",
		IdentityV: 3,
		CACert:    ca,
		Verify:    true,
	}}})
	if err != nil {
		return err
	}
	return writeFile(d.file(cloudsFile), b)
}

// CloudsFile is where `node init` wrote clouds.yaml; "" when the directory has none.
func CloudsFile(dir string) string {
	path := filepath.Join(dir, cloudsFile)
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}
