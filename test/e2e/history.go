package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/sync/errgroup"
)

// listed is one version as a listing tells of it.
type listed struct {
	XMLName   xml.Name // Version or DeleteMarker
	Key       string
	VersionID string `xml:"VersionId"`
}

func (l listed) marker() bool { return l.XMLName.Local == "DeleteMarker" }

// history reads the versions of every key, oldest first. Who made a version is in its metadata.
func (b *s3Bucket) history(ctx context.Context) (map[string][]stored, error) {
	all, err := b.listVersions(ctx)
	if err != nil {
		return nil, err
	}
	versions := make([]stored, len(all))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(readers)
	for i, v := range all {
		versions[i] = stored{versionID: v.VersionID, marker: v.marker()}
		if v.marker() {
			continue
		}
		g.Go(func() error {
			out, err := b.client.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: &b.bucket, Key: &v.Key, VersionId: &v.VersionID})
			if err == nil {
				versions[i].op, versions[i].body, err = authors(out.Metadata)
			}
			if err != nil {
				return fmt.Errorf("head version %s of %q at %s: %w", v.VersionID, v.Key, b.name, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	byKey := map[string][]stored{}
	for i, v := range all {
		byKey[v.Key] = append(byKey[v.Key], versions[i])
	}
	for _, vs := range byKey {
		slices.Reverse(vs) // the listing is newest first
	}
	return byKey, nil
}

// listVersions keeps the order of the document, in which versions and delete markers alternate. The SDK sorts them into two
// lists, and times are too coarse to restore the order.
func (b *s3Bucket) listVersions(ctx context.Context) ([]listed, error) {
	var all []listed
	query := url.Values{"versions": {""}, "encoding-type": {"url"}}
	for {
		var page struct {
			IsTruncated         bool
			NextKeyMarker       string
			NextVersionIDMarker string   `xml:"NextVersionIdMarker"`
			Items               []listed `xml:",any"`
		}
		if err := b.getXML(ctx, query, &page); err != nil {
			return nil, fmt.Errorf("list versions of %s: %w", b.name, err)
		}
		for _, v := range page.Items {
			if v.XMLName.Local != "Version" && !v.marker() {
				continue
			}
			key, err := url.QueryUnescape(v.Key)
			if err != nil {
				return nil, fmt.Errorf("list versions of %s: %w", b.name, err)
			}
			if v.Key = key; !strings.HasPrefix(key, reservedKeys) {
				all = append(all, v)
			}
		}
		if !page.IsTruncated {
			return all, nil
		}
		next, err := url.QueryUnescape(page.NextKeyMarker)
		if err != nil {
			return nil, fmt.Errorf("list versions of %s: %w", b.name, err)
		}
		query.Set("key-marker", next)
		query.Set("version-id-marker", page.NextVersionIDMarker)
	}
}

// getXML asks the bucket and decodes the answer.
func (b *s3Bucket) getXML(ctx context.Context, query url.Values, into any) error {
	o := b.client.Options()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.endpoint+"/"+b.bucket+"?"+strings.ReplaceAll(query.Encode(), "+", "%20"), nil)
	if err != nil {
		return err
	}
	secret, err := o.Credentials.Retrieve(ctx)
	if err != nil {
		return err
	}
	empty := sha256.Sum256(nil)
	hash := hex.EncodeToString(empty[:])
	req.Header.Set("X-Amz-Content-Sha256", hash)
	signer := v4.NewSigner(func(s *v4.SignerOptions) { s.DisableURIPathEscaping = true })
	if err := signer.SignHTTP(ctx, secret, req, hash, "s3", o.Region, time.Now()); err != nil {
		return err
	}
	resp, err := o.HTTPClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		return errors.Join(fmt.Errorf("status %s: %s", resp.Status, text), err)
	}
	return xml.NewDecoder(resp.Body).Decode(into)
}
