package server

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store"
)

func testAuthenticator(t *testing.T, users map[string]store.User) (*authenticator, string) {
	t.Helper()
	dir := t.TempDir()
	a := newAuthenticator(dir, func(_ context.Context, name dot.Namespace) (store.Record[store.User], error) {
		u, ok := users[name.String()]
		if !ok {
			return store.Record[store.User]{}, dot.NotFound("no user %s", name)
		}
		return store.Record[store.User]{Value: u}, nil
	})
	a.delay = func(context.Context) {}
	return a, dir
}

func put(t *testing.T, dir, file, content string) {
	t.Helper()
	// As Kubernetes does it: another file takes the name.
	draft := filepath.Join(dir, "draft")
	if err := os.WriteFile(draft, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(draft, filepath.Join(dir, file)); err != nil {
		t.Fatal(err)
	}
}

// hashOf gives what the registry keeps of a user's secret.
func hashOf(t *testing.T, kind, secret string) string {
	t.Helper()
	salt := []byte("sixteen bytes of")
	sum, err := sumOf(kind, salt, secret)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s$%x$%x", kind, salt, sum)
}

func TestAdminIsWhoTheSecretSays(t *testing.T) {
	a, dir := testAuthenticator(t, nil)
	is := func(secret string) bool {
		who, err := a.authenticate(t.Context(), "admin", secret)
		if err != nil && dot.CodeOf(err) != dot.CodeUnauthenticated {
			t.Errorf("got %v, want CodeUnauthenticated", err)
		}
		return err == nil && who.role == roleAdmin
	}
	if is("") || is("anything") {
		t.Error("no secret lets nobody in")
	}
	put(t, dir, apiKeyFile, "first-key\n")
	put(t, dir, passwordFile, "a password")
	if !is("first-key") || !is("a password") || is("first-key\n") || is("first") {
		t.Error("key and password are compared wrongly")
	}
	put(t, dir, apiKeyFile, "other-key")
	if is("first-key") || !is("other-key") {
		t.Error("a changed key is not followed")
	}
	put(t, dir, apiKeyFile, "  \n")
	if is("") || is("other-key") {
		t.Error("an empty file must let nobody in")
	}
	if err := os.Remove(filepath.Join(dir, passwordFile)); err != nil {
		t.Fatal(err)
	}
	if is("a password") {
		t.Error("a removed password still works")
	}
}

func TestUsersAreVerifiedOnceAMinute(t *testing.T) {
	hash, password := hashOf(t, kindSHA256, "0123456789abcdef"), hashOf(t, kindScrypt, "correct horse")
	users := map[string]store.User{"bob": {Role: roleUser, APIKeyHash: hash, PasswordHash: password}}
	a, _ := testAuthenticator(t, users)
	now := time.Now()
	a.now = func() time.Time { return now }
	for secret, want := range map[string]bool{"0123456789abcdef": true, "correct horse": true, "wrong": false, "": false} {
		who, err := a.authenticate(t.Context(), "bob", secret)
		if (err == nil) != want || want && who != (principal{"bob", roleUser}) {
			t.Errorf("%q: got %v, %v", secret, who, err)
		}
	}
	for _, user := range []string{"eve", "", "../bob", "bob\x00"} {
		if _, err := a.authenticate(t.Context(), user, "0123456789abcdef"); dot.CodeOf(err) != dot.CodeUnauthenticated {
			t.Errorf("user %q: got %v", user, err)
		}
	}
	delete(users, "bob")
	if _, err := a.authenticate(t.Context(), "bob", "0123456789abcdef"); err != nil {
		t.Errorf("a verification is good for a minute: %v", err)
	}
	now = now.Add(cacheFor)
	if _, err := a.authenticate(t.Context(), "bob", "0123456789abcdef"); err == nil {
		t.Error("a removed user was let in after a minute")
	}
}

func TestHashesTellSecretsApart(t *testing.T) {
	if !hashMatches(hashOf(t, kindSHA256, "0123456789abcdef"), "0123456789abcdef") {
		t.Error("a hash does not match its own secret")
	}
	for _, bad := range []string{"", "x", "sha256$$", "sha256$00$", "md5$00$00", "sha256$zz$00"} {
		if hashMatches(bad, "0123456789abcdef") || hashMatches(bad, "") {
			t.Errorf("%q matches", bad)
		}
	}
}

func TestWhoMayCallWhat(t *testing.T) {
	for _, c := range []struct {
		role, path string
		want       bool
	}{
		{roleAdmin, "/dotmesh.v1.VolumeService/CreateVolume", true},
		{roleController, "/dotmesh.v1.VolumeService/CreateVolume", true},
		{roleController, "/dotmesh.v1.DotService/DeleteDot", false},
		{roleUser, "/dotmesh.v1.DotService/ListDots", true},
		{roleUser, "/dotmesh.v1.VolumeService/DeleteVolume", false},
		{roleUser, "/metrics", false},
		{roleUser, "/dotmesh.v1.ServerService/GetStatus", true},
		{roleAdmin, "/dotmesh.v1.ServerService/Release", true},
		{roleOperator, "/dotmesh.v1.ServerService/Release", true},
		{roleUser, "/dotmesh.v1.ServerService/Release", false},
		{roleController, "/dotmesh.v1.ServerService/Release", false},
		{roleOperator, "/dotmesh.v1.VolumeService/DeleteVolume", false},
		{roleOperator, "/metrics", false},
		{"", "/dotmesh.v1.DotService/ListDots", false},
		{"root", "/dotmesh.v1.DotService/ListDots", false},
	} {
		if got := mayCall(c.role, c.path); got != c.want {
			t.Errorf("%s %s: got %t", c.role, c.path, got)
		}
	}
}

func TestUnauthenticatedCallsReachNothing(t *testing.T) {
	a, dir := testAuthenticator(t, nil)
	put(t, dir, apiKeyFile, "the-key")
	h := a.require(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the call went through") }))
	for _, contentType := range []string{"", "application/json", "application/grpc", "application/proto"} {
		req := httptest.NewRequest(http.MethodPost, "/dotmesh.v1.DotService/ListDots", nil)
		req.Header.Set("Content-Type", contentType)
		req.SetBasicAuth("admin", "wrong")
		res := httptest.NewRecorder()
		h.ServeHTTP(res, req)
		if contentType == "application/grpc" {
			if got := res.Header().Get("Grpc-Status"); got != "16" {
				t.Errorf("gRPC: got status %q, want 16", got)
			}
		} else if res.Code != http.StatusUnauthorized {
			t.Errorf("%q: got %d", contentType, res.Code)
		}
	}
}

func TestSecretDirIsMadeOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "secret")
	for range 2 {
		if err := makeSecretDir(dir); err != nil {
			t.Fatal(err)
		}
	}
	first, err := os.ReadFile(filepath.Join(dir, apiKeyFile))
	if err != nil || len(first) < 40 {
		t.Fatalf("got %d bytes, %v", len(first), err)
	}
	if err := makeSecretDir(dir); err != nil {
		t.Fatal(err)
	}
	if second, _ := os.ReadFile(filepath.Join(dir, apiKeyFile)); string(second) != string(first) {
		t.Error("the key was made anew")
	}
	info, err := os.Stat(filepath.Join(dir, apiKeyFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got mode %v, %v", info.Mode(), err)
	}
}
