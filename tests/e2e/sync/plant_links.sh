# What a hostile command may do to the place that the next sync writes to. The outside is $1.
outside=$1
case $0 in
  files)
    rm top dir/file
    ln -s "$outside/top" top
    ln -s "$outside/file" dir/file ;;
  directories)
    rm -rf dir other
    ln -s "$outside" dir
    ln -s "$outside/new" other ;;
  workspace)
    cd .. && mv ws moved && ln -s "$outside" ws ;;
  records)
    cd .. && mv .crabbox/sync moved-sync && ln -s "$outside" .crabbox/sync ;;
esac
