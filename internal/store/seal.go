package store

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/flyballdev/flyball"
)

// A Seal encrypts secrets that must be read again, so that whoever has the
// database, or a backup of it, does not have them. Its key is given, or lies
// in a file beside the database that only its owner reads; that file is made
// when the first secret is sealed.
type Seal struct {
	given string
	path  string

	mu   sync.Mutex
	aead cipher.AEAD
	hash []byte // the key of names
}

// KeyFile is the name of the file with the key.
const KeyFile = "secret.key"

const keyBytes = 32

// NewSeal returns a seal with a given key, 32 bytes in base64, or, if that is
// empty, with the key in a folder.
func NewSeal(key, folder string) (*Seal, error) {
	s := &Seal{given: key, path: filepath.Join(folder, KeyFile)}
	if key == "" {
		return s, nil
	}
	return s, s.use(key)
}

// use takes a key into use.
func (s *Seal) use(text string) error {
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil || len(key) != keyBytes {
		return flyball.FieldErrorf("secretKey", "is not %d bytes in base64: make one with \"openssl rand -base64 %d\"", keyBytes, keyBytes)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return err
	}
	if s.hash, err = hkdf.Key(sha256.New, key, nil, "names", keyBytes); err != nil {
		return err
	}
	s.aead, err = cipher.NewGCMWithRandomNonce(block)
	return err
}

// Name returns a name for something secret, the same each time: nobody without
// the key can tell what it names, or find the name of something they know.
func (s *Seal) Name(secret, what string) ([sha256.Size]byte, error) {
	if _, err := s.key(true); err != nil {
		return [sha256.Size]byte{}, err
	}
	h := hmac.New(sha256.New, s.hash)
	h.Write([]byte(what))
	h.Write([]byte{0})
	h.Write([]byte(secret))
	return [sha256.Size]byte(h.Sum(nil)), nil
}

// Seal encrypts a secret. What names its place; it opens for the same one only.
func (s *Seal) Seal(secret []byte, what string) ([]byte, error) {
	aead, err := s.key(true)
	if err != nil {
		return nil, err
	}
	return aead.Seal(nil, nil, secret, []byte(what)), nil
}

// Open decrypts a secret.
func (s *Seal) Open(sealed []byte, what string) ([]byte, error) {
	aead, err := s.key(false)
	if err != nil {
		return nil, err
	}
	secret, err := aead.Open(nil, nil, sealed, []byte(what))
	if err != nil {
		return nil, s.locked(what)
	}
	return secret, nil
}

func (s *Seal) locked(what string) error {
	return flyball.Errorf(flyball.Unavailable, "the secrets of %s were sealed with another key: give every server the same FLYBALL_SECRET_KEY, or the same %s, or write them again", what, KeyFile)
}

// key returns the key, from its file if none was given.
func (s *Seal) key(make bool) (cipher.AEAD, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.aead != nil {
		return s.aead, nil
	}
	text, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		if !make {
			return nil, s.locked("this installation")
		}
		text, err = makeKey(s.path)
	}
	if err != nil {
		return nil, fmt.Errorf("read the key of secrets: %w", err)
	}
	if err := s.use(string(text)); err != nil {
		return nil, fmt.Errorf("%s: %w", s.path, err)
	}
	return s.aead, nil
}

// makeKey writes a new key, whole and on disk before its name is there, and
// returns the one in the file: another process may have been quicker.
func makeKey(path string) ([]byte, error) {
	folder := filepath.Dir(path)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(folder, KeyFile+".*") // its mode is 0600
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	key := make([]byte, keyBytes)
	rand.Read(key)
	_, err = f.WriteString(base64.StdEncoding.EncodeToString(key) + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return nil, err
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	if err := syncFolder(folder); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

// syncFolder makes sure that a new name in a folder outlives a loss of power:
// what is sealed with a lost key is lost too.
func syncFolder(folder string) error {
	d, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
