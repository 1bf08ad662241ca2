package dot

// Unknown are the members of a stored record, at any depth, that this version
// does not know because a newer one wrote them: "" for none, else a text that only
// pkg/store reads. It goes wherever the record goes, so that a server which writes
// the record again loses nothing of it.
type Unknown string
