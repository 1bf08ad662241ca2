package cli

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/client"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// apiKeyVariable gives the API key where nobody can be asked.
const apiKeyVariable = "DOTMESH_API_KEY"

// maxAPIKey bounds what is read as a key, so that a wrong file is noticed.
const maxAPIKey = 4096

type remoteAddOptions struct {
	ca          string
	fingerprint string
	apiKeyFile  string
}

func (o *remoteAddOptions) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.ca, "ca", "", "PEM file with the CA that signs the server's certificate")
	flags.StringVar(&o.fingerprint, "fingerprint", "", "SHA256:… of the server's, or its CA's, public key")
	flags.StringVar(&o.apiKeyFile, "api-key-file", "", "file that holds the API key; \"-\" is standard input")
}

func newRemoteAddCommand(s *session) *cobra.Command {
	var o remoteAddOptions
	cmd := &cobra.Command{
		Use:   "add NAME [USER@]HOST[:PORT] --ca FILE | --fingerprint SHA256:…",
		Short: "Add a dotmesh cluster, after trying to connect to it",
		Long: `Add a dotmesh cluster, after trying to connect to it. The user is "admin" and
the port ` + client.DefaultPort + ` when they are not given.

The API key is asked for on the terminal, or taken from the environment variable
` + apiKeyVariable + `, or from a file; it is never an argument, which others could
see. It is kept in the file of remotes, which only you can read.

In Kubernetes the Secret "dotmesh-ca-cert" holds the CA, and the Secret "dotmesh"
the admin's key.`,
		Example: `  dm remote add prod dotmesh.example.com --ca ca.crt
  dm remote add prod ann@10.0.0.7:32607 --fingerprint SHA256:6f1c… --api-key-file key.txt`,
		Args: cobra.ExactArgs(2),
		RunE: s.run(func(ctx context.Context, args []string) error {
			return runRemoteAdd(ctx, s, o, args[0], args[1])
		}),
	}
	o.addFlags(cmd.Flags())
	return cmd
}

func runRemoteAdd(ctx context.Context, s *session, o remoteAddOptions, name, where string) error {
	if _, err := dot.ParseName(name); err != nil {
		return dot.Invalid("the name of a remote, %q, is not valid: use 1 to 64 letters, digits, \"_\" or \"-\"", name)
	}
	cfg, err := loadConfig(s.configFile())
	if err != nil {
		return err
	}
	if known, found := cfg.Remotes[name]; found {
		return dot.Errorf(dot.CodeExists, "remote %q exists already (%s): choose another name, or run dm remote rm %s first", name, known.Address, name)
	}
	r, err := o.remote(ctx, s.timeout, name, where)
	if err != nil {
		return err
	}
	if r.APIKey, err = s.apiKey(ctx, o.apiKeyFile, r); err != nil {
		return err
	}
	version, err := s.try(ctx, name, r)
	if err != nil {
		return err
	}
	cfg.Remotes[name] = r
	if cfg.Current == "" {
		cfg.Current = name
	}
	if err := cfg.save(s.configFile()); err != nil {
		return err
	}
	fmt.Fprintf(s.Out, "Added remote %s: dotmesh %s at %s, as user %s\n", name, version, r.Address, r.User)
	if cfg.Current != name {
		fmt.Fprintf(s.Out, "The current remote stays %s; to use the new one run: dm remote switch %s\n", cfg.Current, name)
	}
	return nil
}

// remote reads what the flags say; without any, it tells how to go on.
func (o remoteAddOptions) remote(ctx context.Context, timeout time.Duration, name, where string) (remote, error) {
	user, address, err := splitAddress(where)
	if err != nil {
		return remote{}, err
	}
	r := remote{Address: address, User: user}
	switch {
	case o.ca != "" && o.fingerprint != "":
		return remote{}, dot.Invalid("give --ca or --fingerprint, not both")
	case o.ca != "":
		pem, err := readFile("--ca", o.ca)
		if err != nil {
			return remote{}, err
		}
		if !x509.NewCertPool().AppendCertsFromPEM(pem) {
			return remote{}, dot.Invalid("--ca: %s holds no PEM certificate", o.ca)
		}
		r.CA = string(pem)
	case o.fingerprint != "":
		if r.Fingerprint, err = client.ParseFingerprint(o.fingerprint); err != nil {
			return remote{}, err
		}
	default:
		shown, err := showFingerprint(ctx, timeout, address)
		if err != nil {
			return remote{}, err
		}
		return remote{}, dot.Errorf(dot.CodePermission, `nothing says that the server at %s is yours. It shows the fingerprint
  %s
Compare it with your cluster's (its CA is in the Secret "dotmesh-ca-cert"); if it is the same, run
  dm remote add %s %s --fingerprint %s`, address, shown, name, where, shown)
	}
	return r, nil
}

// apiKey finds the key: file, environment, or the person at the terminal.
func (s *session) apiKey(ctx context.Context, file string, r remote) (string, error) {
	var key string
	switch fromEnv := s.Getenv(apiKeyVariable); {
	case file == "-":
		data, err := interruptible(ctx, func() ([]byte, error) { return io.ReadAll(io.LimitReader(s.In, maxAPIKey+1)) })
		if err != nil {
			return "", fmt.Errorf("read the API key: %w", err)
		}
		key = string(data)
	case file != "":
		data, err := readFile("--api-key-file", file)
		if err != nil {
			return "", err
		}
		key = string(data)
	case fromEnv != "":
		key = fromEnv
	default:
		var err error
		if key, err = s.ReadSecret(ctx, fmt.Sprintf("API key of user %s at %s: ", r.User, r.Address)); err != nil {
			return "", err
		}
	}
	key = strings.TrimSpace(key)
	switch {
	case key == "":
		return "", dot.Invalid("the API key is empty")
	case len(key) > maxAPIKey, strings.ContainsFunc(key, func(c rune) bool { return c <= ' ' || c > '~' }):
		return "", dot.Invalid("that is not an API key: a key is one line of up to %d printable characters", maxAPIKey)
	}
	return key, nil
}

// try makes sure that the server is there, is the right one, and accepts the
// key, and gives its version.
func (s *session) try(ctx context.Context, name string, r remote) (string, error) {
	c, err := s.open(name, r)
	if err != nil {
		return "", err
	}
	defer c.Close()
	answer, err := c.Server.GetVersion(ctx, connect.NewRequest(&dotmeshv1.GetVersionRequest{}))
	if err != nil {
		return "", err
	}
	return answer.Msg.GetVersion(), nil
}
