#!/usr/bin/env bash
# The documentation as a site, in build/site: index.html opens from the disk, and can
# be searched where a server gives it out (python3 -m http.server -d build/site). What
# there is to warn of in pages, links and sources' comments is an error.
#
#   deploy/docs.sh             after deploy/setup.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

SITE=build/site

# A page that loads something from elsewhere would not be whole without a network.
check_self_contained() {
  local pattern='<(script|link|img|iframe)[^>]* (src|href)="?(https?:)?//'
  if grep -rlE --include='*.html' "$pattern" "$SITE"; then
    echo "These load something from elsewhere."
    return 1
  fi
}

# Material for MkDocs warns of a next MkDocs, which is not the one that is used.
export NO_MKDOCS_2_WARNING=1
step "site" .venv/bin/mkdocs build --strict --clean -f deploy/docs/mkdocs.yml
step "nothing from elsewhere" check_self_contained
printf '%s/index.html\n' "$SITE"
