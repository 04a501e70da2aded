package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// settingsFile holds the settings that were given when this machine was enrolled.
const settingsFile = "settings.yaml"

// RememberedSettings is the file below a data directory in which RememberSettings keeps the settings of a node. It need not
// exist.
func RememberedSettings(dataDir string) string { return filepath.Join(dataDir, settingsFile) }

// RememberSettings replaces what is remembered, as a whole. ErrNotEnrolled when the directory belongs to no node.
func RememberSettings(dataDir string, content []byte) error {
	if _, err := os.Stat(filepath.Join(dataDir, identityFile)); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return ErrNotEnrolled
		}
		return fmt.Errorf("remember the settings: %w", err)
	}
	return writeFile(RememberedSettings(dataDir), content)
}
