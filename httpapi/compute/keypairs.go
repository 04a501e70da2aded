package compute

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
	"github.com/kilonova/kilonova/httpapi/schema"
)

const (
	maxPublicKey = 16 << 10 // bytes
	keyBits      = 2048     // of generated keys, as Nova's

	// keyComment ends generated public keys.
	keyComment = "Generated-by-Kilonova"
)

// keyOwner is whose key pairs the request is about: the caller's, or, for administrators, those of the user named.
func (c *call) keyOwner(rule, user string) (cluster.UserID, error) {
	own := c.caller.User.ID
	if c.v < 10 || user == "" || user == string(own) {
		return own, nil
	}
	return cluster.UserID(user), c.allow(rule, admin)
}

func (c *call) listKeyPairs() error {
	known := []string{"user_id", "limit", "marker"}
	if err := c.checkQuery(known...); err != nil {
		return err
	}
	owner, err := c.keyOwner("os-keypairs:index", c.r.URL.Query().Get("user_id"))
	if err != nil {
		return err
	}
	var all []*cluster.KeyPair
	for k := range c.view.KeyPairsOf(owner) {
		all = append(all, k)
	}
	next := ""
	if c.v >= 35 {
		page, err := rest.ParsePage(c.r, false)
		if err != nil {
			return err
		}
		if all, _, err = rest.Cut(all, page, func(k *cluster.KeyPair) string { return k.Name }); err != nil {
			return err
		}
		if len(all) > 0 && len(all) == page.Limit {
			next = all[len(all)-1].Name
		}
	}
	var j writer
	j.open('{').key("keypairs").open('[')
	for _, k := range all {
		j.open('{').key("keypair").open('{').field("name", k.Name).field("public_key", k.PublicKey).field("fingerprint", k.Fingerprint)
		if c.v >= 2 {
			j.field("type", k.Type)
		}
		j.close('}').close('}')
	}
	j.close(']')
	if next != "" {
		c.writeNext(&j, "keypairs_links", next)
	}
	j.close('}')
	return c.send(http.StatusOK, &j)
}

func noKeyPair(name string, owner cluster.UserID) error {
	return notFound("Keypair %s not found for user %s", name, owner)
}

func (c *call) showKeyPair() error {
	owner, err := c.keyOwner("os-keypairs:show", c.r.URL.Query().Get("user_id"))
	if err != nil {
		return err
	}
	k, ok := c.view.KeyPair(owner, c.param("name"))
	if !ok {
		return noKeyPair(c.param("name"), owner)
	}
	var j writer
	j.open('{').key("keypair").open('{').field("name", k.Name).field("public_key", k.PublicKey).field("fingerprint", k.Fingerprint)
	j.field("user_id", string(k.User)).key("created_at").micros(k.Created).fieldTruth("deleted", false).key("deleted_at").null()
	j.fieldNum("id", k.Number).key("updated_at").null()
	if c.v >= 2 {
		j.field("type", k.Type)
	}
	j.close('}').close('}')
	return c.send(http.StatusOK, &j)
}

func (c *call) deleteKeyPair() error {
	owner, err := c.keyOwner("os-keypairs:delete", c.r.URL.Query().Get("user_id"))
	if err != nil {
		return err
	}
	name := c.param("name")
	if _, ok := c.view.KeyPair(owner, name); !ok && c.first() {
		return noKeyPair(name, owner)
	}
	if _, err := c.change(&cluster.DeleteKeyPair{User: owner, Name: name}); err != nil {
		return err
	}
	if c.v >= 2 {
		return c.done(http.StatusNoContent)
	}
	return c.done(http.StatusAccepted)
}

type keyPairBody struct {
	KeyPair struct {
		Name      string `json:"name"`
		PublicKey string `json:"public_key"`
		Type      string `json:"type"`
		User      string `json:"user_id"`
	} `json:"keypair"`
}

func keyPairSchema(v version) *schema.Schema {
	known := map[string]*schema.Schema{
		"name":       schema.Text(1, 255).Formatted(formatPrintable),
		"public_key": schema.Text(0, maxPublicKey),
	}
	if v >= 2 {
		known["type"] = &schema.Schema{Types: []string{"string"}, Enum: []any{keySSH, keyX509}}
	}
	if v >= 10 {
		known["user_id"] = schema.Text(1, 255)
	}
	if v >= 92 {
		return schema.Wrap("keypair", schema.Record(known, "name", "public_key"))
	}
	return schema.Wrap("keypair", schema.Record(known, "name"))
}

func (c *call) createKeyPair() error {
	body, err := decode[keyPairBody](c, keyPairSchema(c.v))
	if err != nil {
		return err
	}
	b := body.KeyPair
	owner, err := c.keyOwner("os-keypairs:create", b.User)
	if err != nil {
		return err
	}
	if err := c.checkKeyPair(b.Name, owner); err != nil {
		return err
	}
	k := cluster.KeyPair{User: owner, Name: b.Name, Type: cmp.Or(b.Type, keySSH), PublicKey: b.PublicKey, Created: cluster.At(c.Now())}
	private := ""
	if b.PublicKey == "" && c.v < 92 {
		if k.PublicKey, private, err = generateKey(c, k.Type, owner); err != nil {
			return err
		}
	}
	if k.Fingerprint, err = fingerprint(k.Type, k.PublicKey); err != nil {
		return err
	}
	if _, err := c.change(&cluster.CreateKeyPair{KeyPair: k, Project: c.caller.ProjectID()}); err != nil {
		return err
	}
	if kept, ok := c.view.KeyPair(owner, k.Name); ok && kept.PublicKey != k.PublicKey {
		k, private = *kept, "" // a repetition: the private key went out with the first answer, and nobody kept it
	}
	return c.sendNewKeyPair(&k, private)
}

// checkKeyPair refuses what a key pair may not be.
func (c *call) checkKeyPair(name string, owner cluster.UserID) error {
	allowed := "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_- "
	if c.v >= 92 {
		allowed += "@."
	}
	if strings.Trim(name, allowed) != "" {
		return bad("Keypair data is invalid: Keypair name contains unsafe characters")
	}
	if _, ok := c.view.User(owner); !ok {
		return bad("User %s could not be found.", owner)
	}
	if _, taken := c.view.KeyPair(owner, name); taken && c.first() {
		return conflict("Key pair '%s' already exists.", name)
	}
	return nil
}

func (c *call) sendNewKeyPair(k *cluster.KeyPair, private string) error {
	var j writer
	j.open('{').key("keypair").open('{')
	if private != "" {
		j.field("private_key", private)
	}
	if c.v >= 2 {
		j.field("type", k.Type)
	}
	j.field("name", k.Name).field("public_key", k.PublicKey).field("fingerprint", k.Fingerprint).field("user_id", string(k.User))
	j.close('}').close('}')
	if c.v >= 2 {
		return c.send(http.StatusCreated, &j)
	}
	return c.send(http.StatusOK, &j)
}

// errBadKey is Nova's answer to a public key that is none.
var errBadKey = cluster.Errorf(cluster.Invalid, "Keypair data is invalid: failed to generate fingerprint")

// fingerprint gives that of a public key of a kind.
func fingerprint(kind, public string) (string, error) {
	if kind == keyX509 {
		return certificateFingerprint(public)
	}
	return sshFingerprint(public)
}

// sshFingerprint gives the MD5 fingerprint of a public key in the authorized_keys format (RFC 4253, section 6.6, in base64).
// More than one line would smuggle further keys, or options, into guests.
func sshFingerprint(public string) (string, error) {
	line := []byte(strings.TrimSpace(public))
	key, _, options, rest, err := ssh.ParseAuthorizedKey(line)
	if err != nil || len(options) > 0 || len(bytes.TrimSpace(rest)) > 0 || bytes.ContainsAny(line, "\n\r\x00") {
		return "", errBadKey
	}
	return ssh.FingerprintLegacyMD5(key), nil
}

// generateKey makes a key pair of a kind for a user.
func generateKey(c *call, kind string, user cluster.UserID) (public, private string, err error) {
	if kind == keyX509 {
		return generateCertificate(c, string(user))
	}
	key, err := generateRSA(c)
	if err != nil {
		return "", "", err
	}
	pub, err := ssh.NewPublicKey(&key.PublicKey)
	if err != nil {
		return "", "", fmt.Errorf("encode public key: %w", err)
	}
	block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
	line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(pub)))
	return line + " " + keyComment, string(pem.EncodeToMemory(block)), nil
}
