package audit

import "slices"

// Compare gives what was granted and never used, and what was asked and is
// forbidden.
func Compare(grants []Grant, requests []Request) (unused []Grant, forbidden []Request) {
	for _, r := range requests {
		if r.Forbidden {
			forbidden = append(forbidden, r)
		}
	}
	for _, g := range grants {
		if !slices.ContainsFunc(requests, g.covers) {
			unused = append(unused, g)
		}
	}
	return unused, forbidden
}

// covers tells that r used g.
func (g Grant) covers(r Request) bool {
	return !r.Forbidden && r.Account == g.Account && r.Resource == g.Resource && r.Verb == g.Verb &&
		(g.Namespace == "" || g.Namespace == r.Namespace) && (g.Name == "" || g.Name == r.Name)
}
