package node

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// journal keeps what a node logs.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// A cluster of two lives for a while: a node joins, people log in rightly and wrongly, make users and servers with secrets in them, and send
// nonsense with secrets in it. What the nodes log at their most talkative, what they answer to failures, and their metrics hold none of the
// secrets, nor do the directories' files that others than root may read.
func TestSecrets_AreWrittenNowhere(t *testing.T) {
	l := newLAN(t)
	logs := &journal{}
	talkative := func(c Config) Config {
		c.Log = slog.New(slog.NewJSONHandler(logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
		return c
	}
	cfg := talkative(l.config(1))
	if _, err := Init(cfg); err != nil {
		t.Fatal(err)
	}
	n1 := l.run(cfg)
	l.until("the first node leads", func() bool { return n1.ask(http.MethodGet, "", nil, nil) == nil })
	joinToken := l.token(n1, nil)
	second := talkative(l.config(2))
	if err := Join(t.Context(), second, n1.cfg.Bind, joinToken); err != nil {
		t.Fatal(err)
	}
	l.run(second)

	clouds, err := os.ReadFile(filepath.Join(cfg.DataDir, "clouds.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`password: *"?([^"\s]+)`).FindSubmatch(clouds)
	if found == nil {
		t.Fatal("clouds.yaml has no password")
	}
	admin := string(found[1])
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} // on loopback
	defer client.CloseIdleConnections()
	var failures bytes.Buffer
	send := func(method, path, token, body string) (*http.Response, string) {
		req, err := http.NewRequest(method, "https://"+n1.cfg.at(APIPort)+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-Auth-Token", token)
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode >= 400 {
			failures.Write(b)
		}
		return res, string(b)
	}
	login := func(password string) string {
		res, _ := send("POST", "/identity/v3/auth/tokens", "", fmt.Sprintf(
			`{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"admin","domain":{"id":"default"},"password":%q}}},"scope":{"project":{"name":"admin","domain":{"id":"default"}}}}}`, password))
		return res.Header.Get("X-Subject-Token")
	}
	const guess, word, data, pass = "Gu3ss-4h7Kq9", "Us3r-Zp2Xw8Vt", "#!/bin/sh echo Us3rd4ta-Ly5Qm", "Adm1nP4ss-Rb6Ns"
	token := login(admin)
	if token == "" || login(guess) != "" {
		t.Fatal("the logins went the wrong way")
	}
	for _, r := range [][2]string{
		{"/identity/v3/users", `{"user":{"name":"u","password":"` + word + `"}}`},
		{"/identity/v3/users", `{"user":{"name":"u","password":"` + word + `"}}`},
		{"/identity/v3/users", `{"user":{"name":7,"password":"` + word + `"}}`},
		{"/compute/v2.1/servers", `{"server":{"name":"s","flavorRef":"x","imageRef":"x","adminPass":"` + pass + `","user_data":"` + base64.StdEncoding.EncodeToString([]byte(data)) + `"}}`},
		{"/compute/v2.1/servers", `{"server":{"name":7,"adminPass":"` + pass + `","user_data":"` + base64.StdEncoding.EncodeToString([]byte(data)) + `"}}`},
		{"/compute/v2.1/servers/x/action", `{"changePassword":{"adminPass":"` + pass + `","x":1}}`},
	} {
		send("POST", r[0], token, r[1])
	}
	send("GET", "/compute/v2.1/servers", token+"x", "")
	_, metrics := send("GET", "/metrics", "", "")
	secrets := map[string]string{"the administrator's password": admin, "a wrong password": guess, "a user's password": word, "user data": data,
		"user data, encoded": base64.StdEncoding.EncodeToString([]byte(data)), "a server's password": pass, "a token": token, "a token's signature": token[strings.LastIndex(token, ".")+1:],
		"a join token": joinToken, "a join token's secret": joinToken[len(joinToken)-20:]}
	places := map[string]string{"the logs": logs.String(), "an error": failures.String(), "the metrics": metrics}
	for _, dir := range []string{cfg.DataDir, second.DataDir} {
		err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
			if err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o044 == 0 {
				return nil // what came and went meanwhile, and what is root's alone
			}
			b, err := os.ReadFile(path)
			if err == nil {
				places[path] = string(b)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(places["the logs"]) < 1000 || len(places["an error"]) < 100 || len(metrics) < 1000 {
		t.Fatal("there is nothing to look through")
	}
	for where, text := range places {
		for what, secret := range secrets {
			if strings.Contains(text, secret) {
				at := strings.Index(text, secret)
				t.Errorf("%s of %s: ...%.60s", what, where, text[max(0, at-50):at])
			}
		}
	}
}
