package gcs

import (
	"encoding/json"
	"net/http"
	"os"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/auth/credentials"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// scope of the tokens: what they allow is decided by roles.
const scope = "https://www.googleapis.com/auth/cloud-platform"

// findCredentials reads a file, or asks Google's own chain. Errors name the file and never what is in it.
func findCredentials(path string, client *http.Client) (*auth.Credentials, error) {
	opts := &credentials.DetectOptions{Scopes: []string{scope}, Client: client}
	if path == "" {
		creds, err := credentials.DetectDefault(opts)
		if err != nil {
			return nil, errkind.New(errkind.PermissionDenied, "find credentials: %w", err)
		}
		return creds, nil
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, errkind.New(errkind.PermissionDenied, "read credentials file: %w", err)
	}
	var file struct {
		Type credentials.CredType `json:"type"`
	}
	if json.Unmarshal(content, &file) != nil || file.Type != credentials.ServiceAccount && file.Type != credentials.ExternalAccount {
		return nil, errkind.New(errkind.Invalid, "the credentials file %s is neither a service account's (service_account) nor a workload "+
			"identity's (external_account) JSON", path)
	}
	creds, err := credentials.NewCredentialsFromJSON(file.Type, content, opts)
	if err != nil { // the library's words may quote the file
		return nil, errkind.New(errkind.Invalid, "the credentials file %s is not a valid %s", path, file.Type)
	}
	return creds, nil
}
