// Command shapegen makes golden shapes from recorded OpenStack exchanges.
//
//	go run ./httpapi/rest/resttest/shapegen -from RECORDINGS 055-appcred-create 062-project-create#3 > shapes.txt
//
// A recording is a JSON file with a list of exchanges; "#3" picks the fourth one, otherwise it is the last.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"mime"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/kilonova/kilonova/httpapi/rest/resttest"
)

type recording struct {
	Exchanges []struct {
		Request struct {
			Method string `json:"method"`
			Path   string `json:"path"`
		} `json:"request"`
		Response struct {
			Status  int               `json:"status"`
			Headers map[string]string `json:"headers"`
			Body    any               `json:"body"`
		} `json:"response"`
	} `json:"exchanges"`
}

func main() {
	from := flag.String("from", ".", "folder of recordings")
	flag.Parse()
	out := bufio.NewWriter(os.Stdout)
	if err := generate(out, *from, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "shapegen:", err)
		os.Exit(1)
	}
	if err := out.Flush(); err != nil {
		fmt.Fprintln(os.Stderr, "shapegen:", err)
		os.Exit(1)
	}
}

func generate(out io.Writer, from string, names []string) error {
	for _, name := range names {
		g, err := golden(from, name)
		if err != nil {
			return fmt.Errorf("make golden %s: %w", name, err)
		}
		if _, err := io.WriteString(out, g.String()); err != nil {
			return err
		}
	}
	return nil
}

func golden(from, name string) (*resttest.Golden, error) {
	file, pick, picked := strings.Cut(name, "#")
	data, err := os.ReadFile(filepath.Join(from, file+".json"))
	if err != nil {
		return nil, err
	}
	var rec recording
	if err := json.Unmarshal(data, &rec); err != nil {
		return nil, err
	}
	n := len(rec.Exchanges) - 1
	if picked {
		if n, err = strconv.Atoi(pick); err != nil {
			return nil, err
		}
	}
	if n < 0 || n >= len(rec.Exchanges) {
		return nil, fmt.Errorf("there is no exchange %d", n)
	}
	x := rec.Exchanges[n]
	g := &resttest.Golden{Name: name, Request: x.Request.Method + " " + x.Request.Path, Status: x.Response.Status}
	isJSON := false
	for h, v := range x.Response.Headers {
		switch strings.ToLower(h) {
		case "content-type":
			media, _, _ := mime.ParseMediaType(v)
			isJSON = media == "application/json"
			g.Headers = append(g.Headers, h+": "+media)
		case "content-length":
		default:
			g.Headers = append(g.Headers, h)
		}
	}
	slices.Sort(g.Headers)
	if isJSON && x.Response.Body != nil {
		g.Body = resttest.ShapeOf(x.Response.Body)
	}
	return g, nil
}
