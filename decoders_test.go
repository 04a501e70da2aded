package main

import (
	"go/ast"
	"path"
	"regexp"
	"strings"
	"testing"
)

// decoderName is what functions are called that make something of bytes or text.
var decoderName = regexp.MustCompile(`^(Unmarshal\w+|[dD]ecode\w*|[pP]arse\w*|[uU]nseal\w*|[iI]nspect\w*|check(Pages)|read(Preamble|Anchor))$`)

// decoders names, for every function of that kind, the fuzz test that reaches it, or, in words, why what it reads is nobody's but ours.
var decoders = map[string]string{
	"httpapi/volume.limits.UnmarshalJSON":         "FuzzLimits",
	"httpapi/compute.decodeBase64":                "FuzzCreateServer",
	"httpapi/compute.optionalText.UnmarshalJSON":  "as flexText",
	"httpapi/compute.flexInt.UnmarshalJSON":       "FuzzAction",
	"httpapi/compute.flexBool.UnmarshalJSON":      "FuzzAction",
	"httpapi/compute.flexText.UnmarshalJSON":      "FuzzAction",
	"httpapi/compute.flexAny.UnmarshalJSON":       "FuzzAction",
	"httpapi/identity.scopeInput.UnmarshalJSON":   "FuzzAuthRequest",
	"httpapi/identity.projectInput.UnmarshalJSON": "FuzzInputs",
	"httpapi/identity.userInput.UnmarshalJSON":    "FuzzInputs",
	"httpapi/volume.flexInt.UnmarshalJSON":        "FuzzLimits",
	"httpapi/volume.flexBool.UnmarshalJSON":       "FuzzTypes",
	"virt/sim.decodeQCOW2":                        "FuzzDecodeQCOW2",
	"parseBridges":                                "the operator's own settings", "parseClouds": "the user's own clouds.yaml",
	"cluster.Hash.UnmarshalBinary": "FuzzDecodeEntry", "cluster.parsePools": "addresses that Apply has checked",
	"cluster.DecodeCommand": "FuzzDecodeEntry", "cluster.DecodeEntry": "FuzzDecodeEntry", "cluster.DecodeResult": "FuzzDecodeResult",
	"cluster.decode": "FuzzDecodeEntry", "cluster.decodeRecord": "FuzzReadState",
	"gossip.decodeAdvert":            "FuzzDecodeAdvert",
	"httpapi/compute.decode":         "FuzzCreateServer",
	"httpapi/compute.decodeAction":   "FuzzAction",
	"httpapi/compute.parseTime":      "FuzzParseTime",
	"httpapi/compute.parseVersion":   "FuzzParseVersion",
	"httpapi/identity.decodeClaims":  "FuzzToken",
	"httpapi/identity.decodeRole":    "a plain record by rest.Decode",
	"httpapi/identity.decodeUser":    "FuzzInputs",
	"httpapi/identity.parsePHC":      "FuzzParsePHC",
	"httpapi/image.inspect":          "FuzzInspect",
	"httpapi/image.parseFilter":      "FuzzSplitList",
	"httpapi/image.parseFlag":        "strconv.ParseBool",
	"httpapi/image.parseOperation":   "FuzzParsePatch",
	"httpapi/image.parsePage":        "texts that rest.Page checks",
	"httpapi/image.parsePatch":       "FuzzParsePatch",
	"httpapi/image.parsePointer":     "FuzzParsePatch",
	"httpapi/image.parseRange":       "FuzzParseRange",
	"httpapi/image.parseSize":        "FuzzSplitList",
	"httpapi/image.parseTime":        "FuzzSplitList",
	"httpapi/network.parseCIDR":      "FuzzRequests",
	"httpapi/peer.decodeParts":       "FuzzDecodeParts",
	"httpapi/peer.parseHash":         "FuzzRouter",
	"httpapi/rest.Decode":            "FuzzDecode",
	"httpapi/rest.DecodeStrict":      "FuzzDecode",
	"httpapi/rest.ParsePage":         "FuzzListServers",
	"httpapi/schema.Parse":           "FuzzCheck",
	"httpapi/schema.parse":           "FuzzCheck",
	"httpapi/schema.parseObject":     "FuzzCheck",
	"httpapi/volume.decode":          "FuzzTypes",
	"node/failpoint.parse":           "FuzzParse",
	"node/failpoint.parseAction":     "FuzzParse",
	"node/pki.ParseAuthority":        "FuzzParseAuthority",
	"node/pki.ParseJoinToken":        "FuzzParseJoinToken",
	"node/pki.ParseTrusted":          "FuzzParseAuthority",
	"placement.parseVersion":         "FuzzNewRequest",
	"raftfsm.checkPages":             "FuzzCheckPages",
	"raftfsm.inspect":                "FuzzCheckPages",
	"raftfsm.parseAnchor":            "FuzzParseAnchor",
	"raftfsm.logStore.readAnchor":    "FuzzParseAnchor",
	"raftfsm.readPreamble":           "FuzzReadPreamble",
	"raftfsm.unseal":                 "FuzzUnseal",
	"virt/disk.parseInfo":            "FuzzParseInfo",
	"virt/image.Inspect":             "FuzzInspect",
	"virt/image/chunk.ParseManifest": "FuzzParseManifest",
	"virt/image/chunk.parseHash":     "names of files that this node made",
	"virt/libvirt.decodeStamp":       "FuzzDecodeStamp",
	"virt/libvirt.parseID":           "uuid.Parse",
	"virt/libvirt.parseView":         "FuzzParseView",
	"virt/sim.decodeDisk":            "FuzzDecodeQCOW2",
	"virt/sim.parseJournal":          "FuzzParseJournal",
	"virt/sim.parseNotes":            "FuzzParseNotes",
}

// Whoever writes a function that reads what others send names the test that throws anything at it.
func TestSecurity_EveryDecoderIsFuzzed(t *testing.T) {
	all := sources(t)
	fuzzed := map[string]bool{}
	for _, s := range all {
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && s.test && strings.HasPrefix(f.Name.Name, "Fuzz") {
				fuzzed[f.Name.Name] = true
			}
		}
	}
	there := map[string]bool{}
	for _, s := range all {
		if s.test || s.folder == "e2e" || strings.HasPrefix(s.folder, "e2e/") || strings.HasSuffix(path.Base(s.folder), "test") {
			continue
		}
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || !decoderName.MatchString(f.Name.Name) {
				continue
			}
			name := decoderOf(s.folder, f)
			there[name] = true
			test, known := decoders[name]
			switch {
			case !known:
				t.Errorf("%s: %s reads what others may have written: name its fuzz test in decoders (decoders_test.go), or say there why it needs none", s.at(f.Pos()), name)
			case strings.HasPrefix(test, "Fuzz") && !fuzzed[test]:
				t.Errorf("%s is said to be fuzzed by %s, which does not exist", name, test)
			}
		}
	}
	for name := range decoders {
		if !there[name] {
			t.Errorf("decoders (decoders_test.go) names %s, which does not exist any more: take it out", name)
		}
	}
}

// decoderOf names a function by its folder, its receiver and itself.
func decoderOf(folder string, f *ast.FuncDecl) string {
	name := f.Name.Name
	if f.Recv != nil {
		of := f.Recv.List[0].Type
		if star, ok := of.(*ast.StarExpr); ok {
			of = star.X
		}
		if id, ok := of.(*ast.Ident); ok {
			name = id.Name + "." + name
		}
	}
	if folder == "." {
		return name
	}
	return folder + "." + name
}
