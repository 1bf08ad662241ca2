package lab
import "context"
func (e Env) BaseImages(ctx context.Context) ([]string, error) { return nil, nil }
func (e Env) imageDisk(ctx context.Context, a []string) (string, error) { return e.emptyDisk(ctx) }
