package audit

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Request is one that a ServiceAccount made, of a resource.
type Request struct {
	Account, Resource, Verb, Namespace, Name string
	// Forbidden: no rule allows it.
	Forbidden bool
	// Agent is the program that asked, as it calls itself.
	Agent string
}

func (r Request) String() string {
	s := fmt.Sprintf("%s (%s) asked to %s %s %s", r.Account, r.Agent, r.Verb, r.Resource, r.Name)
	if r.Namespace != "" {
		s += " in " + r.Namespace
	}
	return s
}

// event is what is read of an audit.k8s.io/v1 Event. Its Go type is in
// k8s.io/apiserver, which is much for these fields.
type event struct {
	Kind       string
	APIVersion string
	Stage      string
	Verb       string
	UserAgent  string
	User       struct{ Username string }
	// RequestReceivedTimestamp is the API server's clock.
	RequestReceivedTimestamp time.Time
	ObjectRef                *struct {
		Resource, Namespace, Name, APIGroup, Subresource string
	}
	ResponseStatus *struct{ Code int }
	Annotations    map[string]string
}

const (
	serviceAccounts = "system:serviceaccount:"
	// decision is what the authorizer said: a request can be answered 403 for other
	// reasons, as in a namespace that is being deleted.
	decision = "authorization.k8s.io/decision"
	allowed  = "allow"
)

// Read gives the requests of namespace's ServiceAccounts in a log of the API server,
// each kind of them once, but for those that were refused before a time. The last line
// may have been cut off: a log is read while it is written.
func Read(log io.Reader, namespace string, refused time.Time) ([]Request, error) {
	lines, seen := bufio.NewReader(log), map[Request]bool{}
	var all []Request
	for n := 1; ; n++ {
		line, err := lines.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		r, ours, err := parse(line, namespace, refused)
		if err != nil {
			return nil, fmt.Errorf("line %d of the audit log: %w", n, err)
		}
		if ours && !seen[r] {
			seen[r] = true
			all = append(all, r)
		}
	}
}

// parse gives the request of a line, if it is one to compare: an account of ours
// asked something of a resource, and was answered.
func parse(line []byte, namespace string, refused time.Time) (Request, bool, error) {
	var e event
	if err := json.Unmarshal(line, &e); err != nil {
		return Request{}, false, err
	}
	if e.Kind != "Event" || e.APIVersion != "audit.k8s.io/v1" {
		return Request{}, false, fmt.Errorf("it is a %q of %q", e.Kind, e.APIVersion)
	}
	account, ours := strings.CutPrefix(e.User.Username, serviceAccounts+namespace+":")
	if !ours || e.ObjectRef == nil || e.Stage == "RequestReceived" {
		return Request{}, false, nil
	}
	r := Request{
		Account:   account,
		Resource:  resource(e.ObjectRef.APIGroup, e.ObjectRef.Resource, e.ObjectRef.Subresource),
		Verb:      e.Verb,
		Namespace: e.ObjectRef.Namespace,
		Name:      e.ObjectRef.Name,
	}
	r.Agent, _, _ = strings.Cut(e.UserAgent, "/")
	r.Forbidden = e.ResponseStatus != nil && e.ResponseStatus.Code == http.StatusForbidden && e.Annotations[decision] != allowed
	return r, !r.Forbidden || !e.RequestReceivedTimestamp.Before(refused), nil
}
