package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

const printed = `{0} tempest.api.image.v2.test_images.ListImagesTest.test_index [0.014s] ... ok
{1} tempest.api.image.v2.test_images.ListImagesTest.test_get [1.250913s] ... FAILED

Captured traceback:
~~~~~~~~~~~~~~~~~~~
    Traceback (most recent call last):
      File "x.py", line 3, in test_get
    tempest.lib.exceptions.NotFound: Object not found
    Details: {'message': 'no such image'}

{1} setUpClass (tempest.api.network.test_routers.RoutersTest) ... SKIPPED: router extension not enabled.
{0} setUpClass (tempest.api.identity.v3.test_users.UsersTest) [0.000000s] ... FAILED

======
Totals
======
 - Passed: 1
`

// What stestr prints is read line by line; of a failure, what follows its line is kept.
func TestReadResults_TakesOutcomesAndTheirCauses(t *testing.T) {
	var told int
	all, err := readResults(strings.NewReader(printed), func(result) { told++ })
	if err != nil {
		t.Fatal(err)
	}
	want := []result{
		{Name: "tempest.api.image.v2.test_images.ListImagesTest.test_index", Outcome: passed},
		{Name: "tempest.api.image.v2.test_images.ListImagesTest.test_get", Outcome: failed},
		{Name: "tempest.api.network.test_routers.RoutersTest.setUpClass", Outcome: skipped, Detail: "router extension not enabled."},
		{Name: "tempest.api.identity.v3.test_users.UsersTest.setUpClass", Outcome: failed},
	}
	if told != len(want) || len(all) != len(want) {
		t.Fatalf("%d results, %d told", len(all), told)
	}
	for i, r := range all {
		if r.Name != want[i].Name || r.Outcome != want[i].Outcome || r.Outcome == skipped && r.Detail != want[i].Detail {
			t.Errorf("result %d is %+v, want %+v", i, r, want[i])
		}
	}
	if got := all[1].cause(); got != "tempest.lib.exceptions.NotFound: Object not found Details: {'message': 'no such image'}" {
		t.Errorf("the cause is %q", got)
	}
	got := tally(all)
	if want := []string{"identity: 0 passed, 1 failed, 0 skipped", "image: 1 passed, 1 failed, 0 skipped", "network: 0 passed, 0 failed, 1 skipped"}; !slices.Equal(got, want) {
		t.Errorf("the tally is %q", got)
	}
}

// The list is held against the results in both ways: what fails has to be in it, and what passes must not be.
func TestJudge_TheListHoldsInBothDirections(t *testing.T) {
	list, err := readExpected(strings.NewReader("# a list\n\nimage\\.a\\..* -> not served\nimage\\.b\\.test_x -> not ours\nimage\\.skipped\\..* -> gone\n"))
	if err != nil {
		t.Fatal(err)
	}
	of := func(name string, o outcome) result { return result{Name: "tempest.api." + name, Outcome: o} }
	for _, c := range []struct {
		story   string
		results []result
		whole   bool
		want    []string // the beginning of each difference
	}{
		{"all as expected", []result{of("image.a.t1", failed), of("image.b.test_x", failed), of("image.c.t", passed)}, false, nil},
		{"a part of the tests", []result{of("image.c.t", passed)}, false, nil},
		{"a new failure", []result{of("image.c.t", failed)}, false, []string{"tempest.api.image.c.t fails"}},
		{"a new success", []result{of("image.a.t1", failed), of("image.a.t2", passed)}, false, []string{"tempest.api.image.a.t2 passes now"}},
		{"a name that is longer than the one of the list", []result{of("image.b.test_xy", failed)}, false, []string{"tempest.api.image.b.test_xy fails"}},
		{"skipped tests bear nothing out", []result{of("image.a.t", failed), of("image.b.test_x", failed), of("image.skipped.t", skipped)}, true,
			[]string{`no test fails that expected.txt lists as ^tempest\.api\.(?:image\.skipped`}},
	} {
		got := judge(c.results, list, c.whole)
		if !slices.EqualFunc(got, c.want, strings.HasPrefix) {
			t.Errorf("%s: %q, want %q", c.story, got, c.want)
		}
	}
}

func TestReadExpected_RefusesWhatSaysNoReason(t *testing.T) {
	for _, bad := range []string{"image.*", "image.* -> ", " -> reason", "image.( -> reason"} {
		if _, err := readExpected(strings.NewReader("# fine\n" + bad)); err == nil || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%q gives %v", bad, err)
		}
	}
	if list, err := readExpected(bytes.NewReader(expectedText)); err != nil || len(list) == 0 {
		t.Errorf("our own list: %d entries, %v", len(list), err)
	}
}

func FuzzReadResults(f *testing.F) {
	f.Add([]byte(printed))
	f.Add([]byte("{0} x ... FAILED\r\n\xff\xfe"))
	f.Add([]byte("{99999999999999999999} setUpClass () ... ok"))
	f.Fuzz(func(t *testing.T, data []byte) {
		all, err := readResults(bytes.NewReader(data), nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range all {
			if r.Name == "" || len(r.Detail) > maxDetail && r.Outcome == failed {
				t.Errorf("result %+v", r)
			}
			r.cause()
		}
	})
}
