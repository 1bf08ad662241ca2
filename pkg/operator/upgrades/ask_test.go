package upgrades

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/config"
)

func urlOf(t *testing.T, s string) config.UpgradesURL {
	t.Helper()
	u, err := config.ParseUpgradesURL(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

var asked = question{version: "1.2.3", storageMode: "local", nodes: "3-5"}

// TestWhatIsSent shows all of a request, so that nothing is added unseen.
func TestWhatIsSent(t *testing.T) {
	var got *http.Request
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		fmt.Fprint(w, `{"version": "v1.3.0", "of tomorrow": [1]}`)
	}))
	defer s.Close()
	v, err := ask(t.Context(), newClient(nil), urlOf(t, s.URL+"/check?channel=stable&nodes=7"), asked)
	if err != nil || v.String() != "1.3.0" {
		t.Fatalf("got %v, %v, want 1.3.0", v, err)
	}
	if want := "/check?channel=stable&nodes=3-5&storageMode=local&version=1.2.3"; got.Method != http.MethodGet || got.RequestURI != want || got.ContentLength != 0 {
		t.Errorf("got %s %s with %d bytes, want GET %s", got.Method, got.RequestURI, got.ContentLength, want)
	}
	if headers := slices.Sorted(maps.Keys(got.Header)); !slices.Equal(headers, []string{"Accept", "Connection", "User-Agent"}) || got.UserAgent() != "dotmesh" {
		t.Errorf("got the headers %v", got.Header)
	}
}

func TestAnswers(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"version": "9.9.9"}`) }))
	defer elsewhere.Close()
	mux := http.NewServeMux()
	answer := func(path, body string) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) })
	}
	answer("/good", `{"version": "1.3.0"}`)
	answer("/garbage", "<html>")
	answer("/empty", "")
	answer("/number", `{"version": 2}`)
	answer("/none", `{}`)
	answer("/words", `{"version": "latest"}`)
	answer("/two", `{"version": "1.3"}`)
	answer("/vast", `{"version": "99999999999999999999999.0.0"}`)
	answer("/long", `{"version": "1.0.0-`+strings.Repeat("a", 100)+`"}`)
	answer("/more", `{"version": "1.3.0"} trailing`)
	answer("/huge", `{"version": "1.3.0", "x": "`+strings.Repeat("x", maxAnswer)+`"}`)
	mux.HandleFunc("/endless", func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 1<<16)); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/error", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"version": "1.3.0"}`)
	})
	mux.HandleFunc("/header", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Much", strings.Repeat("x", 2*maxHeader))
		fmt.Fprint(w, `{"version": "1.3.0"}`)
	})
	mux.Handle("/here", http.RedirectHandler("/good", http.StatusFound))
	mux.Handle("/there", http.RedirectHandler(elsewhere.URL+"/", http.StatusFound))
	mux.Handle("/scheme", http.RedirectHandler("file:///etc/passwd", http.StatusFound))
	mux.Handle("/loop", http.RedirectHandler("/loop", http.StatusFound))
	s := httptest.NewServer(mux)
	defer s.Close()

	for path, want := range map[string]string{ // a version, or what the error tells
		"/good": "1.3.0", "/here": "1.3.0",
		"/garbage": "not JSON", "/empty": "not JSON", "/number": "not JSON", "/more": "not JSON",
		"/none": "semantic version", "/words": "semantic version", "/two": "semantic version", "/vast": "semantic version", "/long": "too long",
		"/huge": "over 65536 bytes", "/endless": "over 65536 bytes", "/error": "404", "/header": "header",
		"/there": "not followed", "/scheme": "not followed", "/loop": "redirects",
	} {
		v, err := ask(t.Context(), newClient(nil), urlOf(t, s.URL+path), asked)
		if err != nil {
			if !strings.Contains(err.Error(), want) || len(err.Error()) > 500 {
				t.Errorf("%s: got %v, want %q", path, err, want)
			}
			continue
		}
		if v.String() != want {
			t.Errorf("%s: got %s, want %q", path, v, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := ask(ctx, newClient(nil), urlOf(t, s.URL+"/good"), asked); err == nil {
		t.Error("asked on after the end")
	}
}

func TestRoughly(t *testing.T) {
	for nodes, want := range map[int]string{-1: "0", 0: "0", 1: "1", 2: "2", 3: "3-5", 5: "3-5", 6: "6-10", 11: "11-50", 50: "11-50", 51: "51-200", 200: "51-200", 201: "over-200", 5000: "over-200"} {
		if got := roughly(nodes); got != want {
			t.Errorf("%d: got %s, want %s", nodes, got, want)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	for _, s := range []string{`{"version": "1.3.0"}`, `{"version": "v1.3.0-rc.1+x"}`, `{"version": " 01.2.3"}`, `{`, ``, `[]`, `{"VERSION":"1.0.0","version":null}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		v, err := parseAnswer(body)
		if err != nil {
			return
		}
		again, err := parseAnswer(fmt.Appendf(nil, `{"version": %q}`, v))
		if err != nil || !again.EqualTo(v) || len(v.String()) > 2*maxVersion || strings.ContainsAny(v.String(), " \n\"") {
			t.Errorf("%q: got %q, then %v, %v", body, v, again, err)
		}
	})
}
