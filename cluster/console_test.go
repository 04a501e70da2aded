package cluster

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// someConsole asks for a token, whose hash is made of seed, for the console of an instance.
func someConsole(instance, seed string) *AddConsoleToken {
	return &AddConsoleToken{
		Token: ConsoleToken{Hash: consoleHash(seed), Instance: InstanceID(instance), Kind: ConsoleNoVNC, Project: home, User: root, Asked: "api"},
		Life:  10 * time.Minute,
	}
}

func consoleHash(seed string) (h Hash) {
	copy(h[:], "console "+seed)
	return h
}

// drawConsoleOp makes and uses tokens of the instances of a property test.
func drawConsoleOp(t *rapid.T) Op {
	seed := pick(t, "token", "1", "2", "3")
	if rapid.IntRange(0, 3).Draw(t, "record") == 0 {
		return &RecordAction{Instance: InstanceID(pick(t, "instance", "a", "b", "c")), User: root, Action: "changePassword", Event: "e"}
	}
	if rapid.Bool().Draw(t, "use") {
		return &UseConsoleToken{Hash: consoleHash(seed)}
	}
	o := someConsole(pick(t, "instance", "a", "b", "c"), seed)
	o.Life = time.Duration(pick(t, "life", 1, 30, 600)) * time.Second
	return o
}

// Two nodes are shown the same token. One of them may use it.
func TestUseConsoleToken_WorksOnce(t *testing.T) {
	w := newTown(t)
	w.active("a")
	w.do(someConsole("a", "1"))
	if c, ok := w.s.View().ConsoleToken(consoleHash("1")); !ok || c.Used || c.Expires != c.Created.Add(10*time.Minute) || c.Epoch != w.instance("a").Epoch {
		t.Fatalf("%+v, %t", c, ok)
	}
	w.do(&UseConsoleToken{Hash: consoleHash("1")})
	w.refuse(&UseConsoleToken{Hash: consoleHash("1")}, Unauthorized, "used already")
	w.refuse(&UseConsoleToken{Hash: consoleHash("2")}, Unauthorized, "not valid")
	if err := w.s.View().ConsoleAllowed(consoleHash("1")); err != nil {
		t.Fatalf("the session of a used token is over: %v", err)
	}
}

// The proposer does not hear of the answer and asks again under the same request ID. The token is still its own.
func TestUseConsoleToken_RepeatedUnderItsRequestIDIsTheSameUse(t *testing.T) {
	w := newTown(t)
	w.active("a")
	w.do(someConsole("a", "1"))
	for range 2 {
		if r := w.apply(Command{ID: "use", Op: &UseConsoleToken{Hash: consoleHash("1")}}); r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	if r := w.apply(Command{ID: "other", Op: &UseConsoleToken{Hash: consoleHash("1")}}); r.Err == nil {
		t.Fatal("another request used it too")
	}
}

// A token's time is over: it opens nothing, and the session that it opened ends. The next token clears it away.
func TestConsoleToken_Expires(t *testing.T) {
	w := newTown(t)
	w.active("a")
	w.do(someConsole("a", "1"))
	w.do(someConsole("a", "2"))
	w.do(&UseConsoleToken{Hash: consoleHash("1")})
	w.now = w.now.Add(10 * time.Minute)
	w.refuse(&UseConsoleToken{Hash: consoleHash("2")}, Unauthorized, "not valid")
	if err := w.s.View().ConsoleAllowed(consoleHash("1")); err == nil || err.Code != Unauthorized {
		t.Fatalf("the session goes on: %v", err)
	}
	w.do(someConsole("a", "3"))
	if n := w.s.t.consoleTokens.Len(); n != 1 {
		t.Fatalf("%d tokens are kept", n)
	}
}

// Whatever takes the right away, or moves or stops the instance, makes the token useless and ends its session.
func TestConsoleAllowed_EndsWithWhatItWasGivenFor(t *testing.T) {
	user := func(w *town) *User {
		u, _ := w.s.View().User("u2")
		c := *u
		return &c
	}
	for name, x := range map[string]struct {
		end  func(*town)
		code Code
	}{
		"instance deleted": {func(w *town) { w.do(&DeleteInstance{ID: "a"}) }, NotFound},
		"instance gone": {func(w *town) {
			w.do(&DeleteInstance{ID: "a"})
			w.reports("a", func(r *InstanceReport) { r.Gone = true })
		}, NotFound},
		"instance off":     {func(w *town) { w.reports("a", power(PowerShutdown)) }, Conflict},
		"instance to stop": {func(w *town) { w.do(&SetPower{ID: "a", Wanted: WantOff}) }, Conflict},
		"token revoked": {func(w *town) {
			w.do(&RevokeToken{Revocation: Revocation{Token: "api", Expires: w.now.Add(time.Hour)}})
		}, Forbidden},
		"role taken": {func(w *town) {
			w.do(&DeleteAssignment{Assignment: Assignment{User: "u2", Project: home, Role: "r-member"}})
		}, Forbidden},
		"user disabled": {func(w *town) {
			u := user(w)
			u.Disabled = true
			w.do(&PutUser{User: *u})
		}, Forbidden},
		"password changed": {func(w *town) {
			u := user(w)
			u.PasswordSet = w.now.Add(time.Second)
			w.do(&PutUser{User: *u})
		}, Forbidden},
		"user deleted": {func(w *town) { w.do(&DeleteUser{ID: "u2"}) }, Forbidden},
		"project disabled": {func(w *town) {
			p, _ := w.s.View().Project(home)
			c := *p
			c.Disabled = true
			w.do(&PutProject{Project: c})
		}, Forbidden},
	} {
		t.Run(name, func(t *testing.T) {
			w := newTown(t)
			w.do(&PutUser{User: User{ID: "u2", Name: "two"}})
			w.do(&PutAssignment{Assignment: Assignment{User: "u2", Project: home, Role: "r-member"}})
			w.active("a")
			for _, seed := range []string{"used", "new"} {
				o := someConsole("a", seed)
				o.Token.User = "u2"
				w.do(o)
			}
			w.do(&UseConsoleToken{Hash: consoleHash("used")})
			x.end(w)
			if err := w.s.View().ConsoleAllowed(consoleHash("used")); err == nil || err.Code != x.code {
				t.Errorf("the session: %v, want %s", err, x.code)
			}
			w.refuse(&UseConsoleToken{Hash: consoleHash("new")}, x.code, "")
		})
	}
}

// A reader may not look at consoles, and a member of another project is no member here.
func TestUseConsoleToken_NeedsARoleInTheProject(t *testing.T) {
	w := newTown(t)
	w.active("a")
	w.do(&PutProject{Project: Project{ID: "p2", Name: "two"}})
	w.do(&PutUser{User: User{ID: "u2", Name: "two"}})
	w.do(&PutAssignment{Assignment: Assignment{User: "u2", Project: home, Role: "r-reader"}})
	w.do(&PutAssignment{Assignment: Assignment{User: "u2", Project: "p2", Role: "r-member"}})
	for seed, p := range map[string]ProjectID{"1": home, "2": "p2", "3": ""} {
		o := someConsole("a", seed)
		o.Token.User, o.Token.Project = "u2", p
		w.do(o)
		w.refuse(&UseConsoleToken{Hash: consoleHash(seed)}, Forbidden, "no access")
	}
	w.do(&PutAssignment{Assignment: Assignment{User: "u2", Role: "r-admin"}})
	w.do(&UseConsoleToken{Hash: consoleHash("3")})
}

// What is asked for without end takes no more room than it may: new tokens push out the oldest.
func TestAddConsoleToken_KeepsABoundedNumber(t *testing.T) {
	w := newTown(t)
	w.active("a")
	seed := func(i int) string { return string(rune('A' + i)) }
	for i := range maxConsoleTokens {
		w.do(someConsole("a", seed(i)))
	}
	w.do(&UseConsoleToken{Hash: consoleHash(seed(0))})
	w.do(&UseConsoleToken{Hash: consoleHash(seed(1))})
	w.do(someConsole("a", "more"))
	n := 0
	for range w.s.View().ConsoleTokensOf("a") {
		n++
	}
	if n != maxConsoleTokens {
		t.Fatalf("%d tokens", n)
	}
	if v := w.s.View(); v.ConsoleAllowed(consoleHash(seed(0))) == nil || v.ConsoleAllowed(consoleHash(seed(1))) != nil {
		t.Fatal("it was not the oldest that went")
	}
}

func TestAddConsoleToken_RefusesBadInput(t *testing.T) {
	w := newTown(t)
	w.active("a")
	w.do(create("b", ""))
	w.do(someConsole("a", "1"))
	with := func(change func(*AddConsoleToken)) *AddConsoleToken {
		o := someConsole("a", "2")
		change(o)
		return o
	}
	w.refuse(someConsole("a", "1"), Conflict, "exists already")
	w.refuse(someConsole("b", "2"), Conflict, "not ready")
	w.refuse(someConsole("x", "2"), NotFound, "could not be found")
	w.refuse(with(func(o *AddConsoleToken) { o.Token.Hash = Hash{} }), Invalid, "hash")
	w.refuse(with(func(o *AddConsoleToken) { o.Token.Kind = "spice-html5" }), Invalid, "not known")
	w.refuse(with(func(o *AddConsoleToken) { o.Token.User = "a b" }), Invalid, "User ID")
	w.refuse(with(func(o *AddConsoleToken) { o.Life = 0 }), Invalid, "life")
	w.refuse(with(func(o *AddConsoleToken) { o.Life = 25 * time.Hour }), Invalid, "life")
}

// What was done inside an instance is told among its actions, whether it went well or not.
func TestRecordAction_IsToldAtOnceAndAsAWhole(t *testing.T) {
	w := newTown(t)
	w.active("a")
	record := &RecordAction{Instance: "a", Request: "req-1", Project: home, User: root, Action: "changePassword", Event: "compute_set_admin_password"}
	w.do(record)
	failed := *record
	failed.Failure = "the guest has no agent"
	w.do(&failed)
	want := "changePassword: compute_set_admin_password=Success\nchangePassword: compute_set_admin_password=Error\n"
	if got := w.actions("a"); !strings.HasSuffix(got, want) {
		t.Errorf("actions:\n%s", got)
	}
	w.do(&SetPower{ID: "a", Wanted: WantOff})
	w.refuse(record, Conflict, "task_state powering-off")
	w.refuse(&RecordAction{Instance: "x", User: root, Action: "a", Event: "e"}, NotFound, "could not be found")
	w.refuse(&RecordAction{Instance: "a", User: root, Event: "e"}, Invalid, "must not be empty")
}
