package server

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"net/http"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"

	"github.com/dotmesh-io/dotmesh-csi/pkg/api"
	"github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1/dotmeshv1connect"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/pki"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store"
)

// Roles of users.
const (
	roleAdmin      = "admin"
	roleController = "controller" // the CSI controller: volumes
	roleUser       = "user"       // dm: dots and commits
	roleOperator   = "operator"   // by client certificate: servers themselves
)

const adminName = "admin"

// principal is who makes a call.
type principal struct {
	name string
	role string
}

type principalKey struct{}

// callerOf names who makes the call, for commits and logs.
func callerOf(ctx context.Context) string {
	who, _ := ctx.Value(principalKey{}).(principal)
	return who.name
}

func withPrincipal(ctx context.Context, who principal) context.Context {
	return context.WithValue(ctx, principalKey{}, who)
}

// userLookup finds a user in the registry.
type userLookup func(context.Context, dot.Namespace) (store.Record[store.User], error)

// authenticator tells who is calling by user and API key (or password).
type authenticator struct {
	adminKey, adminPassword secretFile
	users                   userLookup
	now                     func() time.Time
	delay                   func(context.Context) // after a failure

	salt [32]byte // so that the cache holds nothing that could be tried offline

	mu    sync.Mutex
	cache map[[sha256.Size]byte]cached
}

// cached is a verification that need not be repeated until expires: scrypt takes
// a tenth of a second and the registry may be away.
type cached struct {
	who     principal
	expires time.Time
}

const (
	cacheFor  = time.Minute
	cacheSize = 1024
)

func newAuthenticator(secretDir string, users userLookup) *authenticator {
	a := &authenticator{
		adminKey:      secretFile{path: secretDir + "/" + apiKeyFile},
		adminPassword: secretFile{path: secretDir + "/" + passwordFile},
		users:         users,
		now:           time.Now,
		delay:         failureDelay,
		cache:         map[[sha256.Size]byte]cached{},
	}
	_, _ = rand.Read(a.salt[:]) // never fails (crypto/rand)
	return a
}

// failureDelay slows guessing down.
func failureDelay(ctx context.Context) {
	const pause = 300 * time.Millisecond
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

var errWrongKey = dot.Errorf(dot.CodeUnauthenticated, "user or API key is wrong")

// authenticate tells who a user with a secret is. Which of the two was wrong is
// not told.
func (a *authenticator) authenticate(ctx context.Context, user, secret string) (principal, error) {
	if user == "" || secret == "" {
		return principal{}, dot.Errorf(dot.CodeUnauthenticated, "say who you are: HTTP Basic authentication with user and API key")
	}
	if user == adminName {
		// Both are compared, so that the time tells nothing.
		byKey, byPassword := a.adminKey.matches(secret), a.adminPassword.matches(secret)
		if byKey || byPassword {
			return principal{adminName, roleAdmin}, nil
		}
		a.delay(ctx)
		return principal{}, errWrongKey
	}
	key := a.cacheKey(user, secret)
	if who, ok := a.cached(key); ok {
		return who, nil
	}
	name, err := dot.ParseNamespace(user)
	if err != nil {
		a.delay(ctx)
		return principal{}, errWrongKey
	}
	rec, err := a.users(ctx, name)
	if err != nil && dot.CodeOf(err) != dot.CodeNotFound {
		return principal{}, err
	}
	if err != nil || !hashMatches(rec.Value.APIKeyHash, secret) && !hashMatches(rec.Value.PasswordHash, secret) {
		a.delay(ctx)
		return principal{}, errWrongKey
	}
	who := principal{user, rec.Value.Role}
	a.remember(key, who)
	return who, nil
}

func (a *authenticator) cacheKey(user, secret string) [sha256.Size]byte {
	mac := hmac.New(sha256.New, a.salt[:])
	mac.Write([]byte(user + "\x00" + secret))
	return [sha256.Size]byte(mac.Sum(nil))
}

func (a *authenticator) cached(key [sha256.Size]byte) (principal, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c, ok := a.cache[key]
	return c.who, ok && a.now().Before(c.expires)
}

func (a *authenticator) remember(key [sha256.Size]byte, who principal) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.cache) >= cacheSize {
		clear(a.cache)
	}
	a.cache[key] = cached{who, a.now().Add(cacheFor)}
}

// mayCall tells whether a role may call a procedure (its path).
func mayCall(role, path string) bool {
	service := strings.Split(strings.TrimPrefix(path, "/"), "/")[0]
	if path == dotmeshv1connect.ServerServiceReleaseProcedure {
		return role == roleAdmin || role == roleOperator
	}
	switch role {
	case roleAdmin:
		return true
	case roleController:
		return service == dotmeshv1connect.VolumeServiceName || service == dotmeshv1connect.ServerServiceName
	case roleUser:
		return service == dotmeshv1connect.DotServiceName || service == dotmeshv1connect.ServerServiceName
	case roleOperator:
		return service == dotmeshv1connect.ServerServiceName
	}
	return false
}

// caller tells who makes a request: the operator by its client certificate, others by
// user and API key.
func (a *authenticator) caller(r *http.Request) (principal, error) {
	if t := r.TLS; t != nil && len(t.VerifiedChains) > 0 && pki.RoleOf(t.PeerCertificates[0]) == pki.RoleOperator {
		return principal{t.PeerCertificates[0].Subject.CommonName, roleOperator}, nil
	}
	user, secret, _ := r.BasicAuth()
	return a.authenticate(r.Context(), user, secret)
}

// require lets through only calls of somebody who may make them, before anything
// of the call's body is read.
func (a *authenticator) require(next http.Handler) http.Handler {
	refuse := connect.NewErrorWriter()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		other, isForwarded, err := readForwarded(r)
		who := other.who
		if isForwarded {
			ctx = withForwarded(ctx, other)
		} else if err == nil {
			who, err = a.caller(r)
		}
		if err != nil {
			hangUp(w)
		}
		if err == nil && !mayCall(who.role, r.URL.Path) {
			err = dot.Errorf(dot.CodePermission, "user %q may not call %s", who.name, r.URL.Path)
		}
		switch {
		case err == nil:
			next.ServeHTTP(w, r.WithContext(withPrincipal(ctx, who)))
		case refuse.IsSupported(r):
			_ = refuse.Write(w, r, api.ToConnect(err)) // the client is gone
		default:
			w.Header().Set("WWW-Authenticate", `Basic realm="dotmesh", charset="UTF-8"`)
			http.Error(w, err.Error(), httpStatus(dot.CodeOf(err)))
		}
	})
}

func httpStatus(c dot.Code) int {
	switch c {
	case dot.CodeUnauthenticated:
		return http.StatusUnauthorized
	case dot.CodePermission:
		return http.StatusForbidden
	case dot.CodeUnavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}
