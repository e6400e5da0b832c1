export { findBundle, folderSource, listBundles, openBundle, searchFolders } from './folder.ts';
