export {
  findBundle,
  folderSource,
  listBundles,
  openBundle,
  searchFolders,
  type OpenOptions,
} from './folder.ts';
export { pullBundle, type Pulled, type PullOptions } from './pull.ts';
export { installedIn, rollBack, storeFolder, type Installed } from './store.ts';
