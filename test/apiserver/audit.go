package apiserver

import (
	"bufio"
	"encoding/json"
	"os"
	"testing"
)

// Request is one that the API server has answered, from its audit log.
type Request struct {
	User     string // the one that was impersonated, where one was
	Verb     string
	Group    string
	Resource string // with the subresource, as "pods/eviction"
	Name     string
	Code     int
}

// Requests are all so far.
func (s *Server) Requests(t testing.TB) []Request {
	t.Helper()
	log, err := os.Open(s.file("audit.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	var all []Request
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e struct {
			Verb                   string
			User, ImpersonatedUser struct{ Username string }
			ObjectRef              struct{ APIGroup, Resource, Subresource, Name string }
			ResponseStatus         struct{ Code int }
		}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatalf("audit log: %v", err)
		}
		r := Request{e.User.Username, e.Verb, e.ObjectRef.APIGroup, e.ObjectRef.Resource, e.ObjectRef.Name, e.ResponseStatus.Code}
		if e.ImpersonatedUser.Username != "" {
			r.User = e.ImpersonatedUser.Username
		}
		if e.ObjectRef.Subresource != "" {
			r.Resource += "/" + e.ObjectRef.Subresource
		}
		all = append(all, r)
	}
	if err := lines.Err(); err != nil {
		t.Fatalf("audit log: %v", err)
	}
	return all
}
