package identity

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// The ways to authenticate.
const (
	methodPassword   = "password"
	methodToken      = "token"
	methodCredential = "application_credential"
)

// authRequest is the body of POST /auth/tokens.
type authRequest struct {
	Auth *struct {
		Identity *identityInput `json:"identity"`
		Scope    scopeInput     `json:"scope"`
	} `json:"auth"`
}

type identityInput struct {
	Methods  []string `json:"methods"`
	Password *struct {
		User userRef `json:"user"`
	} `json:"password"`
	Token *struct {
		ID string `json:"id"`
	} `json:"token"`
	Credential *credentialInput `json:"application_credential"`
}

// userRef names a user by ID, or by name and domain, with a password where one is wanted.
type userRef struct {
	ID       string     `json:"id"`
	Name     string     `json:"name"`
	Domain   *domainRef `json:"domain"`
	Password string     `json:"password"`
}

type credentialInput struct {
	ID     string   `json:"id"`
	Name   string   `json:"name"`
	Secret string   `json:"secret"`
	User   *userRef `json:"user"`
}

// find finds the user that is meant.
func (u *userRef) find(view *cluster.View) *cluster.User {
	if u == nil {
		return nil
	}
	if u.ID != "" {
		found, _ := view.User(cluster.UserID(u.ID))
		return found
	}
	if !u.Domain.isDefault() {
		return nil
	}
	found, _ := view.UserNamed(u.Name)
	return found
}

// account is what failures to log in as this user are counted under.
func (u *userRef) account(found *cluster.User) string {
	switch {
	case found != nil:
		return string(found.ID)
	case u.ID != "":
		return "unknown " + u.ID
	default:
		return "unknown " + u.Name
	}
}

// scopeInput is where a token shall be valid.
type scopeInput struct {
	Unscoped bool // said so
	Project  *struct {
		ID     string     `json:"id"`
		Name   string     `json:"name"`
		Domain *domainRef `json:"domain"`
	} `json:"project"`
	Domain *domainRef `json:"domain"`
	System *struct {
		All bool `json:"all"`
	} `json:"system"`
}

// UnmarshalJSON reads an object, or the word "unscoped".
func (s *scopeInput) UnmarshalJSON(data []byte) error {
	var word string
	if json.Unmarshal(data, &word) == nil && string(data) != "null" {
		if word != "unscoped" {
			return cluster.Errorf(cluster.Invalid, "Invalid input for field 'scope': '%s' is not 'unscoped'", word)
		}
		s.Unscoped = true
		return nil
	}
	type plain scopeInput
	if err := json.Unmarshal(data, (*plain)(s)); err != nil {
		return err
	}
	given := 0
	for _, is := range []bool{s.Project != nil, s.Domain != nil, s.System != nil} {
		if is {
			given++
		}
	}
	if given > 1 {
		return cluster.Errorf(cluster.Invalid, "Invalid input for field 'scope': it names more than one place")
	}
	return nil
}

func (s *scopeInput) given() bool {
	return s.Unscoped || s.Project != nil || s.Domain != nil || s.System != nil
}

const malformed = "The server could not comply with the request since it is either malformed or otherwise incorrect. The client is assumed " +
	"to be in error."

func expecting(attribute, target string) error {
	return cluster.Errorf(cluster.Invalid, "Expecting to find %s in %s. %s", attribute, target, malformed)
}

// login gives a token for a password, a token or an application credential.
func (s *server) login(w http.ResponseWriter, r *http.Request) error {
	req, err := rest.Decode[authRequest](r)
	if err != nil {
		return err
	}
	if req.Auth == nil {
		return expecting("auth", "request body")
	}
	if req.Auth.Identity == nil {
		return expecting("identity", "auth")
	}
	view, err := rest.View(r, s.backend)
	if err != nil {
		return err
	}
	who, err := s.identify(r, view, req.Auth.Identity)
	if err != nil {
		return err
	}
	c, err := s.claim(view, who, &req.Auth.Scope)
	if err != nil {
		return err
	}
	h, err := hold(view, c, c.Issued)
	if err != nil {
		return err
	}
	token, err := s.tokens.sign(view, c)
	if err != nil {
		return err
	}
	w.Header().Set(subjectHeader, token)
	rest.Reply(w, http.StatusCreated, map[string]any{"token": s.renderToken(r, c, h)})
	return nil
}

// proof is what the methods of a login showed together.
type proof struct {
	user    *cluster.User
	methods []string
	parent  *claims // the token that was shown
	cred    *cluster.Credential
}

// identify checks each method that the client names. All must hold, and for the same user.
func (s *server) identify(r *http.Request, view *cluster.View, in *identityInput) (*proof, error) {
	if len(in.Methods) == 0 {
		return nil, expecting("methods", "identity")
	}
	p := &proof{}
	for _, method := range slices.Compact(slices.Sorted(slices.Values(in.Methods))) {
		user, err := s.prove(r, view, in, method, p)
		if err != nil {
			return nil, err
		}
		if p.user != nil && p.user.ID != user.ID {
			return nil, refuse("methods name different users")
		}
		p.user = user
		p.used(method)
	}
	return p, nil
}

// used notes methods, each once.
func (p *proof) used(methods ...string) {
	for _, m := range methods {
		if !slices.Contains(p.methods, m) {
			p.methods = append(p.methods, m)
		}
	}
}

// prove checks one method.
func (s *server) prove(r *http.Request, view *cluster.View, in *identityInput, method string, p *proof) (*cluster.User, error) {
	switch {
	case method == methodPassword && in.Password != nil:
		return s.provePassword(r, view, &in.Password.User)
	case method == methodToken && in.Token != nil:
		return s.proveToken(view, in.Token.ID, p)
	case method == methodCredential && in.Credential != nil:
		return s.proveCredential(r, view, in.Credential, p)
	case method == methodPassword, method == methodToken, method == methodCredential:
		return nil, expecting(method, "identity")
	default:
		return nil, refuse("unsupported method")
	}
}

// provePassword costs the same whether the user exists or not.
func (s *server) provePassword(r *http.Request, view *cluster.View, ref *userRef) (*cluster.User, error) {
	u := ref.find(view)
	who := clientOf(r, ref.account(u))
	if err := s.limiter.allow(who, time.Now()); err != nil {
		return nil, err
	}
	ok, err := s.gate.check(r.Context(), who, u, ref.Password)
	switch {
	case err != nil:
		return nil, err
	case !ok:
		s.limiter.failed(who, time.Now())
		return nil, refuse("wrong password or unknown user")
	case u.Disabled:
		return nil, refuse("user is disabled")
	}
	s.limiter.passed(who)
	return u, nil
}

func (s *server) proveToken(view *cluster.View, token string, p *proof) (*cluster.User, error) {
	c, err := s.tokens.read(view, token)
	if err != nil {
		return nil, err
	}
	h, err := hold(view, c, now(view))
	if err != nil {
		return nil, err
	}
	p.parent, p.cred = c, h.cred
	p.used(c.Methods...)
	return h.user, nil
}

func (s *server) proveCredential(r *http.Request, view *cluster.View, in *credentialInput, p *proof) (*cluster.User, error) {
	var cred *cluster.Credential
	if in.ID != "" {
		cred, _ = view.Credential(cluster.CredentialID(in.ID))
	} else if u := in.User.find(view); u != nil {
		cred, _ = view.CredentialNamed(u.ID, in.Name)
	}
	account := "credential " + strings.TrimSpace(in.ID+" "+in.Name)
	if cred != nil {
		account = "credential " + string(cred.ID)
	}
	who := clientOf(r, account)
	if err := s.limiter.allow(who, time.Now()); err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(in.Secret))
	if cred == nil || subtle.ConstantTimeCompare(sum[:], cred.SecretHash[:]) != 1 {
		s.limiter.failed(who, time.Now())
		return nil, refuse("wrong secret or unknown application credential")
	}
	s.limiter.passed(who)
	u, ok := view.User(cred.User)
	if !ok {
		return nil, refuse("user of the application credential is gone")
	}
	if p.cred != nil && p.cred.ID != cred.ID {
		return nil, refuse("methods name different application credentials")
	}
	p.cred = cred
	return u, nil
}

// claim decides what a new token says.
func (s *server) claim(view *cluster.View, p *proof, scope *scopeInput) (*claims, error) {
	issued := now(view)
	c := &claims{User: p.user.ID, Methods: p.methods, Issued: issued, Expires: wholeSecond(issued.Add(s.tokens.lifetime))}
	if p.parent != nil {
		c.Expires = min(c.Expires, p.parent.Expires)
		c.Audit = p.parent.descend()
	} else {
		c.Audit = []cluster.TokenID{newAuditID()}
	}
	if p.cred != nil {
		return c, bindCredential(view, c, p.cred, scope)
	}
	switch {
	case scope.Unscoped:
	case scope.Project != nil:
		project, err := findProject(view, scope)
		if err != nil {
			return nil, err
		}
		c.Project = project
	case scope.System != nil:
		if !scope.System.All {
			return nil, cluster.Errorf(cluster.Invalid, "Invalid input for field 'scope': 'system' has only 'all'")
		}
		c.System = true
	case scope.Domain != nil:
		return nil, refuse("nobody has a role on a domain")
	case p.user.DefaultProject != "":
		// Without a word about scope a token is for the user's default project, if it can be.
		try := *c
		try.Project = p.user.DefaultProject
		if _, err := hold(view, &try, issued); err == nil {
			c.Project = try.Project
		}
	}
	return c, nil
}

// bindCredential limits a token to its application credential's project.
func bindCredential(view *cluster.View, c *claims, cred *cluster.Credential, scope *scopeInput) error {
	c.Cred, c.Project = cred.ID, cred.Project
	if !scope.given() {
		return nil
	}
	if scope.Project != nil {
		if p, err := findProject(view, scope); err == nil && p == cred.Project {
			return nil
		}
	}
	return refuse("application credential is for another scope")
}

func findProject(view *cluster.View, scope *scopeInput) (cluster.ProjectID, error) {
	ref := scope.Project
	if ref.ID != "" {
		return cluster.ProjectID(ref.ID), nil // whether there is one is asked when the token is held
	}
	if !ref.Domain.isDefault() {
		return "", refuse("unknown domain of a project")
	}
	p, ok := view.ProjectNamed(ref.Name)
	if !ok {
		return "", refuse("unknown project")
	}
	return p.ID, nil
}

// wholeSecond cuts a time to seconds, as Keystone does with the times of expiry.
func wholeSecond(t cluster.Time) cluster.Time { return t - t%cluster.Time(time.Second) }
