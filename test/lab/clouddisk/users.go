package clouddisk

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
)

// UsersPort is where the node service tells what uses a disk, on the network that
// is the lab's own and stays when a node is cut off.
const UsersPort = "9899"

// AskUsers asks the node service at host what uses a disk there.
func AskUsers(ctx context.Context, host, id string) ([]string, error) {
	u := url.URL{Scheme: "http", Host: host + ":" + UsersPort, Path: "/users", RawQuery: url.Values{"disk": {id}}.Encode()}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", u.String(), res.Status)
	}
	var users []string
	return users, json.NewDecoder(res.Body).Decode(&users)
}
