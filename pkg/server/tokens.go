package server

import (
	"encoding/base64"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// maxPage is the most entries that one page of a listing holds.
const maxPage = 500

// pageSize checks how many entries are asked for; 0: all.
func pageSize(asked int32) (int, error) {
	if asked < 0 {
		return 0, dot.Invalid("the number of entries asked for is negative")
	}
	if asked == 0 || asked > maxPage {
		return maxPage, nil
	}
	return int(asked), nil
}

// A token is where the page before ended. Whoever sends one that is not of ours
// must start again: CodeAborted (CSI spec, "ListVolumes Errors").

func volumeToken(last dot.VolumeID) string { return last.String() }

func parseVolumeToken(token string) (dot.VolumeID, error) {
	if token == "" {
		return dot.VolumeID{}, nil
	}
	id, err := dot.ParseVolumeID(token)
	if err != nil {
		return id, badToken(token)
	}
	return id, nil
}

func snapshotToken(lastCSIName string) string {
	return base64.RawURLEncoding.EncodeToString([]byte("s:" + lastCSIName))
}

func parseSnapshotToken(token string) (lastCSIName string, err error) {
	if token == "" {
		return "", nil
	}
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) < 3 || string(b[:2]) != "s:" {
		return "", badToken(token)
	}
	return string(b[2:]), nil
}

func badToken(token string) error {
	const shown = 64
	if len(token) > shown {
		token = token[:shown] + "…"
	}
	return dot.Errorf(dot.CodeAborted, "the starting token %q is not one that this server gave: list from the start", token)
}
